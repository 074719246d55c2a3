"""A quantity by layer over time: which layers use Transformer experts, and when."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analysis.plots.colour_scale import colour_scale
from analysis.plots.layer_names import layer_names
from analysis.plots.smoothing import evenly
from analysis.plots.style import INK, SEQUENTIAL, SMALL, WIDE, Array, count_axis, panel

TITLE = "Transformer share by layer"
HOW_TO_READ = (
    "Percent of assignments that go to Transformer experts, a row per layer: bright rows pay for attention, dark ones "
    "do without; the line in the scale is the share of an even router."
)


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
