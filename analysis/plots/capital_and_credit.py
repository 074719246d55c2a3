"""What experts own over time, and what they were measured to be worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.direct_labels import EndLabel, label_ends
from analysis.plots.layer_names import some_layers
from analysis.plots.style import INK, SMALL, TEXT, WIDE, Array, count_axis, panels

TITLE = "Capital and credit"
HOW_TO_READ = (
    "Above, each expert's share of its layer's capital (dashed: an even share); below, its credit, the nats it saves "
    "per token it serves, with its 95 % interval: a just market makes rich who stands high below."
)
HOW_TO_READ_WITHOUT_CREDIT = "Each expert's share of its layer's capital (dashed: an even share)."
Z95 = 1.96


def capital_and_credit(
    tokens: Array,
    capital: Array,
    credit: tuple[Array, Array, Array] | None,
    experts: Sequence[str],
    colours: Sequence[str],
) -> Figure:
    """capital [T,L,E] shares; credit (tokens [S], values [S,L,E], standard errors [S,L,E]) in nats per token, or None.

    Shows the first, middle and last layer.
    """
    layers = some_layers(capital.shape[1])
    rows = 1 if credit is None else 2
    figure, axes = panels(len(layers), rows, WIDE, 0.6 + 1.9 * rows, share=False)
    for column, layer in enumerate(layers):
        shares = capital[:, layer]
        _lines(axes[column], tokens, shares, None, experts, colours)
        axes[column].axhline(1 / shares.shape[1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes[column].set_title(f"L{layer:02d}  capital share", loc="left", fontsize=TEXT, color=INK)
        label_ends(axes[column], _ends(shares[-1], experts, colours))
        if credit is not None:
            below = axes[len(layers) + column]
            at, values, errors = credit
            _lines(below, at, values[:, layer], errors[:, layer], experts, colours)
            below.axhline(0, color=INK, linewidth=0.8)
            below.set_title("credit, nats per token", loc="left", fontsize=TEXT, color=INK)
            label_ends(below, _ends(values[-1, layer], experts, colours))
    for axis in axes:
        count_axis(axis)
        axis.set_xlim(0, float(tokens[-1]) or 1.0)
    for axis in axes[-len(layers) :]:
        axis.set_xlabel("tokens seen", fontsize=SMALL, color=INK)
    return figure


def _lines(
    axis: Axes, tokens: Array, values: Array, errors: Array | None, experts: Sequence[str], colours: Sequence[str]
) -> None:
    for number in range(len(experts)):
        line = values[:, number]
        axis.plot(tokens, line, color=colours[number], linewidth=1.2)
        if errors is not None:
            width = Z95 * errors[:, number]
            axis.fill_between(tokens, line - width, line + width, color=colours[number], alpha=0.12, linewidth=0)
    if errors is not None:
        _keep_lines_in_sight(axis, values, errors)


def _keep_lines_in_sight(axis: Axes, values: Array, errors: Array) -> None:
    """Intervals of the first half, which rest on little yet, do not set the scale; 0 is always in sight."""
    half = len(values) // 2
    late, width = values[half:], Z95 * errors[half:]
    reach = np.concatenate([late - width, late + width, np.zeros_like(late)])
    low, high = np.nanmin(reach), np.nanmax(reach)
    if np.isfinite(high - low) and high > low:
        axis.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def _ends(values: Array, experts: Sequence[str], colours: Sequence[str]) -> list[EndLabel]:
    return [EndLabel(name, float(value), colour) for name, value, colour in zip(experts, values, colours, strict=True)]
