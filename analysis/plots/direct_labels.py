"""Names beside the ends of lines instead of a legend, moved apart where they would touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from analysis.plots.style import INK, SMALL, Array

ROOM = 0.78  # share of the figure's height that the axes are taken to fill
LINE = 1.25  # of the type size, from one label to the next
LEAD = 0.03  # of the axes' width, between line and label


@dataclass(frozen=True)
class EndLabel:
    """What stands beside a line that ends at height `y`, in data units."""

    text: str
    y: float
    colour: str


def label_ends(axis: Axes, labels: Sequence[EndLabel]) -> None:
    """Write the labels right of the axes at the heights of their lines, each joined to its line by a short lead.

    To be called once everything is drawn, since it fixes the vertical limits.
    """
    shown = [label for label in labels if np.isfinite(label.y)]
    if not shown:
        return
    axis.set_ylim(axis.get_ylim())
    heights = _heights(axis, [label.y for label in shown])
    figure = axis.get_figure(root=True)
    assert figure is not None
    rows = axis.get_subplotspec().get_gridspec().nrows if axis.get_subplotspec() else 1  # type: ignore[union-attr]
    gap = SMALL * LINE / 72 / (figure.get_figheight() * ROOM / rows)
    places = spread(heights, gap)
    for label, height, place in zip(shown, heights, places, strict=True):
        lead = {"color": label.colour, "linewidth": 1, "clip_on": False, "transform": axis.transAxes}
        axis.plot([1, 1 + LEAD], [height, place], **lead)  # type: ignore[arg-type]
        axis.text(1 + LEAD * 1.4, place, label.text, transform=axis.transAxes, fontsize=SMALL, color=INK, va="center")


def spread(heights: Array, gap: float) -> Array:
    """Places in the order of the heights, at least `gap` apart, from 0 to 1 where they fit, else from 0 upward.

    Neighbours that touch form a block around their mean, as in isotonic regression; bounds move only what lies beyond.
    """
    order = np.argsort(heights, kind="stable")
    blocks: list[list[float]] = []  # each: the heights less their offsets within the whole
    for rank, height in enumerate(heights[order]):
        blocks.append([height - rank * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    places = np.concatenate([np.full(len(block), np.mean(block)) for block in blocks])
    ranks = gap * np.arange(len(heights))
    places = np.minimum(places + ranks, max(1.0, ranks[-1]) - ranks[::-1])
    found = np.empty_like(heights)
    found[order] = np.maximum(places, ranks)
    return found


def _heights(axis: Axes, values: Sequence[float]) -> Array:
    """In shares of the axes' height."""
    points = axis.transData.transform([(axis.get_xlim()[0], value) for value in values])
    return np.clip(axis.transAxes.inverted().transform(points)[:, 1], 0, 1)
