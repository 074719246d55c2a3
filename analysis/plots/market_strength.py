"""How much the market is listened to, and what it is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.phase_marks import mark_phases
from analysis.plots.style import COLOURS, INK, Array, count_axis, name_axes, panel

ALPHA = "The market's weight in the election, mean of the layers (band: least to most)."
GAIN = (
    "Nats per token that the market saves, measured on sequences routed without it: it helps where the whole band "
    "(95 %) is above 0, and harms where it is below."
)
GAIN_NAMES = ("market/holdout_gain", "market/holdout_low", "market/holdout_high")


def alpha_over_time(tokens: Array, alpha: Array, phases: Sequence[tuple[str, float]] = ()) -> Figure:
    """alpha [T,L]."""
    figure, axis = panel()
    mark_phases(axis, phases)
    axis.fill_between(tokens, alpha.min(axis=1), alpha.max(axis=1), color=COLOURS[0], alpha=0.2, linewidth=0)
    axis.plot(tokens, alpha.mean(axis=1), color=COLOURS[0], linewidth=1.5)
    axis.set_ylim(bottom=min(0.0, float(np.nanmin(alpha))))
    count_axis(axis)
    axis.set_xlim(0, float(tokens[-1]) or 1.0)
    name_axes(axis, "tokens seen", "alpha")
    return figure


def gain_over_time(frame: pd.DataFrame, phases: Sequence[tuple[str, float]] = ()) -> Figure:
    """frame by tokens with the columns GAIN_NAMES, nats per token; the first, widest intervals may leave the frame."""
    gain, low, high = (frame[name].to_numpy(float) for name in GAIN_NAMES)
    figure, axis = panel()
    mark_phases(axis, phases)
    axis.fill_between(frame.index, low, high, color=COLOURS[2], alpha=0.2, linewidth=0)
    axis.plot(frame.index, gain, color=COLOURS[2], linewidth=1.5)
    axis.axhline(0, color=INK, linewidth=0.9)
    late = slice(len(frame) // 4, None)
    bottom, top = min(0.0, float(low[late].min())), max(0.0, float(high[late].max()))
    if top > bottom:
        axis.set_ylim(bottom - 0.1 * (top - bottom), top + 0.1 * (top - bottom))
    count_axis(axis)
    axis.set_xlim(0, frame.index[-1])
    name_axes(axis, "tokens seen", "gain, nats per token")
    return figure
