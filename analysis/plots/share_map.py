"""Shares of load or capital by layer and expert, over time and at the end, as distance from an even share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from analysis.plots.colour_scale import colour_scale, readable_on
from analysis.plots.layer_names import layer_names
from analysis.plots.smoothing import evenly
from analysis.plots.style import DIVERGING, HALF, INK, SMALL, TEXT, WIDE, Array, count_axis, dress, panel

OVER_TIME = (
    "Each row is an expert, layers from top to bottom: white is exactly an even share, red more, blue less; stripes "
    "that keep their colour are experts that keep their place."
)
AT_THE_END = "Percent of a layer's total by expert: red is more than an even share, blue less."
ROW = 0.15  # inches of an expert's row over time
CELLS_WITH_NUMBERS = 200


def share_over_time(tokens: Array, shares: Array, experts: Sequence[str]) -> Figure:
    """tokens [T], shares [T,L,E] that sum to 1 over E, names of the E experts."""
    n_layer, n_expert = shares.shape[1:]
    rows = n_layer * n_expert
    figure = Figure(figsize=(WIDE, 0.75 + max(1.4, min(ROW * rows, 9.0))), layout="constrained")
    axis = figure.subplots()
    dress(axis)
    grid = evenly(tokens, shares).reshape(-1, rows).T - 1 / n_expert
    limit = _limit(grid)
    end = float(tokens[-1]) or 1.0
    image = axis.imshow(
        grid, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto", extent=(0, end, rows, 0), interpolation="none"
    )
    axis.grid(False)
    axis.hlines(np.arange(1, n_layer) * n_expert, 0, end, color=INK, linewidth=0.7)
    _name_rows(figure, n_layer, n_expert, experts)
    count_axis(axis)
    axis.set_xlabel("tokens seen", fontsize=SMALL, color=INK)
    colour_scale(figure, axis, image, "above or below an even share, points")
    return figure


def share_at_the_end(shares: Array, experts: Sequence[str], limit: float | None = None) -> Figure:
    """shares [L,E] that sum to 1 over E; `limit`: the distance that has the strongest colours, else the largest."""
    n_layer, n_expert = shares.shape
    figure, axis = panel(HALF, min(0.8 + 0.3 * n_layer, 8.0))
    deviation = shares - 1 / n_expert
    limit = limit or distance_from_even(shares)
    image = axis.imshow(deviation, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto", interpolation="none")
    axis.grid(False)
    if shares.size <= CELLS_WITH_NUMBERS:
        for layer, expert in np.ndindex(*shares.shape):
            colour = readable_on(image, deviation[layer, expert])
            text = f"{100 * shares[layer, expert]:.0f}"
            axis.text(expert, layer, text, ha="center", va="center", fontsize=SMALL, color=colour)
    axis.set_xticks(range(n_expert), list(experts))
    axis.set_yticks(range(n_layer), layer_names(n_layer))
    axis.set_title(f"percent of the layer; even: {100 / n_expert:.3g}", loc="left", fontsize=TEXT, color=INK)
    return figure


def distance_from_even(shares: Array) -> float:
    """Largest distance of a share [...,L,E] from 1/E."""
    return _limit(shares - 1 / shares.shape[-1])


def _limit(deviation: Array) -> float:
    """Of the colours on both sides: the largest distance, at least one percent."""
    return max(0.01, float(np.nanmax(np.abs(deviation)))) if np.isfinite(deviation).any() else 0.01


def _name_rows(figure: Figure, n_layer: int, n_expert: int, experts: Sequence[str]) -> None:
    """Layers on the left, experts on the right where their names fit."""
    axis = figure.axes[0]
    axis.set_yticks((np.arange(n_layer) + 0.5) * n_expert, layer_names(n_layer))
    height = figure.get_figheight() / (n_layer * n_expert)
    if height * 72 >= 8:
        for row in range(n_layer * n_expert):
            axis.annotate(
                experts[row % n_expert],
                (1, row + 0.5),
                (4, 0),
                xycoords=axis.get_yaxis_transform(),
                textcoords="offset points",
                fontsize=6.5,
                color=INK,
                va="center",
            )
