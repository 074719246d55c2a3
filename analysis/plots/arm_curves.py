"""A quantity of every arm over a budget: tokens, FLOPs or time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.plots.direct_labels import EndLabel, label_ends
from analysis.plots.off_scale import off_scale
from analysis.plots.style import HALF, INK, Array, count_axis, log_axis, name_axes, panel

LOSS_BUDGETS = (
    "Held-out loss of every arm, mean of its seeds (band: least to greatest): above one place of the axis, the lower "
    "line made more of the same budget; an arrow marks an arm far above the scale."
)
BALANCE = (
    "MaxVio of training windows, mean of layers and seeds (band: least to greatest seed): lower is better balanced; "
    "below the dashed line it is counting noise."
)
POINTS = 200
USUAL = 0.03  # of the median loss: arms no further apart than a few times this share one scale
EARLY = 0.12  # of the budget: what is higher than the curves were then is out of sight
Curve = tuple[Array, Array]


def arm_curves(
    curves: Mapping[str, Sequence[Curve]],
    colours: Mapping[str, str],
    x: str,
    y: str,
    *,
    log: bool = False,
    floor: float = np.nan,
    width: float = HALF,
    falling: bool = True,
) -> Figure:
    """curves: arm -> (places [N], values [N]) of each seed, places rising. `floor` is drawn as a dashed line.

    falling: what is far above where most curves were early lies off the scale.
    """
    figure, axis = panel(width, 3.3)
    ends, drawn, early = [], [], []
    for arm, seeds in curves.items():
        grid, values = on_one_grid(seeds)
        if not len(grid):
            continue
        mean = values.mean(axis=0)
        axis.fill_between(grid, values.min(axis=0), values.max(axis=0), color=colours[arm], alpha=0.15, linewidth=0)
        axis.plot(grid, mean, color=colours[arm], linewidth=1.5)
        ends.append(EndLabel(arm, float(mean[-1]), colours[arm]))
        drawn.append(values.ravel())
        early.append(float(np.interp(EARLY * grid[-1], grid, mean)))
    if falling and not log:
        near = ~(_far([end.y for end in ends]) | _far(early))
        drawn = [values for values, is_near in zip(drawn, near, strict=True) if is_near]
        early = [max(value, end.y) for value, end, is_near in zip(early, ends, near, strict=True) if is_near]
    every = np.concatenate(drawn or [np.empty(0)])
    if np.isfinite(floor):
        axis.axhline(floor, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        every = np.append(every, floor)
    if log:
        log_axis(axis, every)
    elif falling and every.size and np.isfinite(max(early)):
        low = float(np.nanmin(every))
        axis.set_ylim(low - 0.04 * (max(early) - low), max(early) + 0.02 * (max(early) - low) or None)
        top = axis.get_ylim()[1]
        ends = [replace(end, text=f"{end.text} \u2191") if end.y > top else end for end in ends]
    count_axis(axis)
    axis.set_xlim(left=0)
    axis.margins(x=0)
    name_axes(axis, x, y)
    label_ends(axis, ends)
    return figure


def _far(values: Sequence[float]) -> NDArray[np.bool_]:
    return off_scale(values, USUAL * abs(float(np.median(values))) if len(values) else 0.0)


def on_one_grid(seeds: Sequence[Curve]) -> tuple[Array, Array]:
    """(places [P], values [S,P]) between the latest beginning and the earliest end of the seeds, linearly interpolated.

    Empty without a seed that has two places.
    """
    known = [(x[np.isfinite(x + y)], y[np.isfinite(x + y)]) for x, y in seeds]
    known = [(x, y) for x, y in known if len(x) > 1]
    if not known or (low := max(x[0] for x, _ in known)) >= (high := min(x[-1] for x, _ in known)):
        return np.empty(0), np.empty((0, 0))
    grid = np.linspace(low, high, POINTS)
    return grid, np.stack([np.interp(grid, x, y) for x, y in known])
