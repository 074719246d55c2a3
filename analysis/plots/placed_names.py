"""Names beside points, each where it covers no point and no other name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from analysis.plots.style import INK, SMALL, Array

LETTER = 0.58  # of the type size: mean width of a letter
SIDES = (  # offsets in points, and alignments, in the order in which they are tried
    (8, 0, "left", "center"),
    (-8, 0, "right", "center"),
    (0, 9, "center", "bottom"),
    (0, -9, "center", "top"),
    (7, 8, "left", "bottom"),
    (7, -8, "left", "top"),
    (-7, 8, "right", "bottom"),
    (-7, -8, "right", "top"),
)
Box = tuple[float, float, float, float]


def place_names(axis: Axes, names: Sequence[str], points: Array) -> None:
    """points [N,2] in data units; call when the limits are set. Where every side covers something, the least of it."""
    figure = axis.get_figure(root=True)
    assert figure is not None
    scale = 72 / figure.dpi
    axis.set_xlim(axis.get_xlim())
    axis.set_ylim(axis.get_ylim())
    places = axis.transData.transform(points) * scale if len(points) else np.empty((0, 2))
    taken: list[Box] = [(x - 4, y - 4, x + 4, y + 4) for x, y in places]
    for (x, y), name, point in zip(places, names, points, strict=True):
        best = min(SIDES, key=lambda side: sum(_overlap(_box(x, y, name, side), box) for box in taken))
        taken.append(_box(x, y, name, best))
        dx, dy, horizontal, vertical = best
        axis.annotate(
            name,
            (point[0], point[1]),
            (dx, dy),
            textcoords="offset points",
            ha=horizontal,
            va=vertical,
            fontsize=SMALL,
            color=INK,
        )


def _box(x: float, y: float, name: str, side: tuple[float, float, str, str]) -> Box:
    """Left, bottom, right, top in points."""
    dx, dy, horizontal, vertical = side
    width, height = LETTER * SMALL * len(name), 1.2 * SMALL
    left = x + dx - {"left": 0.0, "center": width / 2, "right": width}[horizontal]
    bottom = y + dy - {"bottom": 0.0, "center": height / 2, "top": height}[vertical]
    return left, bottom, left + width, bottom + height


def _overlap(a: Box, b: Box) -> float:
    """Area that both cover."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)
