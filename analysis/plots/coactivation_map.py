"""Which experts win together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from analysis.plots.colour_scale import colour_scale, readable_on
from analysis.plots.layer_names import some_layers
from analysis.plots.style import INK, SEQUENTIAL, SMALL, TEXT, WIDE, Array, dress

TITLE = "Which experts win together"
HOW_TO_READ = (
    "Of the tokens that the expert of the row wins, the percent that the column's wins too; the line in the "
    "scale is chance: brighter pairs are a team, darker ones avoid each other."
)
CELLS_WITH_NUMBERS = 36  # of one layer


def coactivation_map(together: Array, chance: float, experts: Sequence[str]) -> Figure:
    """together [L,E,E] with P(column wins | row wins), NaN in the row of who never won; the diagonal is left out.

    Shows the first, middle and last layer.
    """
    layers = some_layers(len(together))
    n_expert = together.shape[1]
    figure = Figure(figsize=(WIDE, 3.4), layout="constrained")
    axes = list(figure.subplots(1, len(layers), squeeze=False)[0])
    shown = np.where(np.eye(n_expert, dtype=bool), np.nan, together)
    top = max(float(np.nanmax(shown)) if np.isfinite(shown).any() else 0.0, chance, 1e-6)
    for axis, layer in zip(axes, layers, strict=True):
        dress(axis)
        axis.grid(False)
        image = axis.imshow(shown[layer], cmap=SEQUENTIAL, vmin=0, vmax=top, aspect="equal", interpolation="none")
        for row, column in np.argwhere(np.isfinite(shown[layer])) if n_expert**2 <= CELLS_WITH_NUMBERS else ():
            value = float(shown[layer, row, column])
            text, colour = f"{100 * value:.0f}", readable_on(image, value)
            axis.text(column, row, text, ha="center", va="center", fontsize=SMALL, color=colour)
        axis.set_xticks(range(n_expert), list(experts))
        axis.set_yticks(range(n_expert), list(experts))
        axis.set_title(f"L{layer:02d}", loc="left", fontsize=TEXT, color=INK)
    colour_scale(figure, axes[-1], image, "percent", mark=chance)
    return figure
