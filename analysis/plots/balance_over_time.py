"""MaxVio of each training window, with what counting noise alone would show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.direct_labels import EndLabel, label_ends
from analysis.plots.phase_marks import mark_phases
from analysis.plots.smoothing import running_mean, window_for
from analysis.plots.style import COLOURS, INK, count_axis, log_axis, name_axes, panel

TITLE = "Load balance over time"
HOW_TO_READ = (
    "MaxVio is how much more than its fair share the busiest expert serves, 0 in perfect balance (running means, log "
    "scale); below the dashed line differences are counting noise of a window."
)
MEAN, WORST, FLOOR = "routing/maxvio_batch", "routing/maxvio_batch/worst", "routing/maxvio_noise_floor"


def balance_over_time(frame: pd.DataFrame, phases: Sequence[tuple[str, float]] = ()) -> Figure:
    """frame by tokens, with the columns MEAN, WORST, FLOOR; a column of NaN is not drawn."""
    figure, axis = panel()
    mark_phases(axis, phases)
    ends, drawn = [], []
    for name, label, colour in ((WORST, "worst layer", COLOURS[1]), (MEAN, "mean of layers", COLOURS[0])):
        values = frame[name].to_numpy(float)
        smooth = running_mean(values, window_for(len(values)))
        if np.isfinite(smooth).any():
            axis.plot(frame.index, values, color=colour, linewidth=0.6, alpha=0.3)
            axis.plot(frame.index, smooth, color=colour, linewidth=1.5)
            ends.append(EndLabel(label, float(smooth[-1]), colour))
            drawn.append(smooth)
    floor = frame[FLOOR].to_numpy(float)
    if np.isfinite(floor).any():
        axis.plot(frame.index, floor, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        ends.append(EndLabel("chance", float(floor[-1]), INK))
        drawn.append(floor)
    log_axis(axis, np.concatenate(drawn or [np.empty(0)]))
    count_axis(axis)
    axis.set_xlim(0, frame.index[-1])
    name_axes(axis, "tokens seen", "MaxVio of a training window")
    label_ends(axis, ends)
    return figure
