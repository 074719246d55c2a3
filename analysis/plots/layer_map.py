"""A quantity by layer over time: which layers use Transformer experts, and when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from analysis.plots.colour_scale import colour_scale, readable_on
from analysis.plots.layer_names import layer_names
from analysis.plots.smoothing import evenly
from analysis.plots.style import HALF, INK, SEQUENTIAL, SMALL, TEXT, WIDE, Array, count_axis, panel

TITLE = "Transformer share by layer"
HOW_TO_READ = (
    "Percent of assignments that go to Transformer experts, a row per layer: bright rows pay for attention, dark ones "
    "do without; the line in the scale is the share of an even router."
)
CELLS_WITH_NUMBERS = 120


def arms_by_layer(values: Array, arms: Sequence[str], label: str) -> Figure:
    """values [A,L] in 0..1: a row per arm."""
    figure, axis = panel(HALF, 0.9 + 0.3 * len(arms))
    image = axis.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=values.max(), aspect="auto", interpolation="none")
    axis.grid(False)
    if values.size <= CELLS_WITH_NUMBERS:
        for row, layer in np.ndindex(*values.shape):
            share = float(values[row, layer])
            colour = readable_on(image, share)
            axis.text(layer, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=SMALL, color=colour)
    axis.set_xticks(range(values.shape[1]), layer_names(values.shape[1]))
    axis.set_yticks(range(len(arms)), list(arms))
    axis.set_title(label, loc="left", fontsize=TEXT, color=INK)
    return figure


def layer_map(tokens: Array, values: Array, label: str, fair: float | None = None) -> Figure:
    """tokens [T], values [T,L] in 0..1; `fair` is marked in the scale."""
    n_layer = values.shape[1]
    figure, axis = panel(WIDE, 0.75 + max(1.2, min(0.26 * n_layer, 6.0)))
    grid = evenly(tokens, values).T
    top = float(np.nanmax(grid)) if np.isfinite(grid).any() else 1.0
    end = float(tokens[-1]) or 1.0
    image = axis.imshow(
        grid,
        cmap=SEQUENTIAL,
        vmin=0,
        vmax=max(top, fair or 0.0, 1e-6),
        aspect="auto",
        extent=(0, end, n_layer, 0),
        interpolation="none",
    )
    axis.grid(False)
    axis.set_yticks(np.arange(n_layer) + 0.5, layer_names(n_layer))
    count_axis(axis)
    axis.set_xlabel("tokens seen", fontsize=SMALL, color=INK)
    colour_scale(figure, axis, image, label, mark=fair)
    return figure
