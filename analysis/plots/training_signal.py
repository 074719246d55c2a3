"""One scalar of training over time: gradient norm, speed, a rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.direct_labels import EndLabel, label_ends
from analysis.plots.phase_marks import mark_phases
from analysis.plots.smoothing import running_mean, window_for
from analysis.plots.style import INK, SMALL, count_axis, log_axis, name_axes, panel, series_style


def training_signal(
    frame: pd.DataFrame, label: str, phases: Sequence[tuple[str, float]] = (), *, log: bool = False, smooth: bool = True
) -> Figure:
    """frame: a column per line, by tokens; several have their names at their ends, without `smooth` in a legend."""
    figure, axis = panel()
    mark_phases(axis, phases)
    ends = []
    for number, name in enumerate(frame.columns):
        style, values = series_style(number), frame[name].to_numpy(float)
        if log:
            values = np.where(values > 0, values, np.nan)
        if smooth:
            axis.plot(frame.index, values, linewidth=0.6, alpha=0.35, **style)  # type: ignore[arg-type]
        shown = running_mean(values, window_for(len(values))) if smooth else values
        axis.plot(frame.index, shown, linewidth=1.4, label=str(name), **style)  # type: ignore[arg-type]
        ends.append(EndLabel(str(name), float(shown[-1]), str(style["color"])))
    if log:
        log_axis(axis, frame.to_numpy(float))
    count_axis(axis)
    axis.set_xlim(0, frame.index[-1])
    name_axes(axis, "tokens seen", label)
    if len(ends) > 1 and smooth:
        label_ends(axis, ends)
    elif len(ends) > 1:
        axis.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="best")
    return figure
