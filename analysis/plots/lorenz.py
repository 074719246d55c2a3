"""Lorenz curves: how unequally load and capital are spread over experts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from analysis.plots.direct_labels import EndLabel
from analysis.plots.style import COLOURS, INK, SMALL, Array, name_axes, panel

TITLE = "Inequality"
HOW_TO_READ = (
    "Experts of a layer from poorest to richest: on the dashed diagonal all have the same, the deeper a curve sags the "
    "fewer own most (mean of layers; pale: each layer; Gini: twice the area between)."
)

OF_ARMS = (
    "Experts of a layer from poorest to richest in load, mean of layers and seeds: the deeper a curve sags below the "
    "dashed diagonal, the fewer experts do most of the work."
)


def lorenz(amounts: dict[str, Array], colours: Mapping[str, str] | None = None) -> Figure:
    """amounts: name -> [L,E], at least 0. With `colours` for the names, means only, without a line per layer."""
    figure, axis = panel()
    axis.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    lines = []
    for number, (name, amount) in enumerate(amounts.items()):
        curves, colour = lorenz_curve(amount), (colours or {}).get(name, COLOURS[number % len(COLOURS)])
        share = np.linspace(0, 1, curves.shape[1])
        for curve in () if colours else curves:
            axis.plot(share, curve, color=colour, linewidth=0.6, alpha=0.3)
        mean = curves.mean(axis=0)
        axis.plot(share, mean, "o-", color=colour, linewidth=1.6, markersize=2.5)
        gini = 1 - (mean[1:] + mean[:-1]).sum() / (len(mean) - 1)
        lines.append(EndLabel(f"{name}, Gini {gini:.2f}", float(mean[len(mean) // 2]), colour))
    for number, line in enumerate(lines):
        place = 0.93 - 0.09 * number
        axis.plot([0.03, 0.09], [place, place], color=line.colour, linewidth=1.6, transform=axis.transAxes)
        axis.text(0.11, place, line.text, transform=axis.transAxes, fontsize=SMALL, color=INK, va="center")
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    name_axes(axis, "share of experts, poorest first", "share of what there is")
    return figure


def lorenz_curve(amount: Array) -> Array:
    """[L,E] -> [L,E+1]: what the poorest 0, 1, ... E experts have together, as a share of all; even where all is 0."""
    ordered = np.sort(np.clip(amount, 0, None), axis=-1)
    total = ordered.sum(axis=-1, keepdims=True)
    shares = np.divide(ordered, total, out=np.full_like(ordered, 1 / amount.shape[-1]), where=total > 0)
    return np.concatenate([np.zeros((len(amount), 1)), np.cumsum(shares, axis=-1)], axis=-1)
