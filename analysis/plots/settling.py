"""How soon routers settle: each evaluation's winners against the last ones and against the ones before."""

from __future__ import annotations

from typing import Literal

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from analysis.plots.layer_names import layer_names, some_layers
from analysis.plots.style import INK, SMALL, Array, count_axis, name_axes, panel

SATURATION = (
    "Share of a token's winners that are already those of the last evaluation, a line per layer (blue: near the "
    "embedding): the sooner it rises from chance (dashed), the sooner the router has made up its mind."
)
CHURN = (
    "Share of a token's winners that changed since the evaluation before, a line per layer: it falls as they settle; "
    "dashed is what a router that forgets everything would show."
)
DEPTHS = "viridis"
Corner = Literal["lower right", "upper right"]


def saturation_over_time(tokens: Array, saturation: Array, chance: float) -> Figure:
    """tokens [S], saturation [S,L] in 0..1, chance k/E."""
    return _by_layer(tokens, saturation, chance, "winners as at the end", "lower right")


def churn_over_time(tokens: Array, churn: Array, chance: float) -> Figure:
    """tokens [S-1] at the later evaluation, churn [S-1,L], chance 1 - k/E."""
    return _by_layer(tokens, churn, chance, "winners changed", "upper right")


def _by_layer(
    tokens: Array, values: Array, chance: float, label: str, place: Literal["lower right", "upper right"]
) -> Figure:
    """The first, middle and last layer are named; lines that all end together have no ends to be named at."""
    figure, axis = panel()
    n_layer = values.shape[1]
    shown = some_layers(n_layer)
    shades = matplotlib.colormaps[DEPTHS](np.linspace(0.25, 0.85, n_layer))
    colours = [matplotlib.colors.to_hex(shade) for shade in shades]
    for layer in range(n_layer):
        axis.plot(tokens, values[:, layer], "o-", color=colours[layer], markersize=2.5, linewidth=1.3)
    axis.axhline(chance, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    side = {"transform": axis.get_yaxis_transform(), "ha": "right", "va": "bottom"}
    axis.text(0.99, chance, "chance", fontsize=SMALL, color=INK, **side)  # type: ignore[arg-type]
    axis.set_ylim(0, 1.02)
    axis.set_xlim(left=0)
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    count_axis(axis)
    name_axes(axis, "tokens seen", label)
    names = layer_names(n_layer)
    handles = [Line2D([], [], color=colours[layer], marker="o", markersize=3, label=names[layer]) for layer in shown]
    axis.legend(handles=handles, fontsize=SMALL, frameon=False, labelcolor=INK, loc=place, ncols=len(shown))
    return figure
