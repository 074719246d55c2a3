"""One number of every run, arm by arm: seeds as dots, their mean as a bar."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.style import FAINT, INK, SMALL, TEXT, panel


def arm_dots(values: pd.DataFrame, colours: Mapping[str, str], label: str, *, zero: bool = True) -> Figure:
    """values: a row per run with the columns arm and value, maybe low and high (its interval); `zero` marks 0."""
    arms = list(dict.fromkeys(values["arm"]))
    figure, axis = panel(height=0.9 + 0.34 * len(arms))
    axis.grid(False)
    axis.grid(axis="x", color=FAINT, linewidth=0.5)
    if zero:
        axis.axvline(0, color=INK, linewidth=0.9)
    for row, arm in enumerate(arms):
        own = values[values["arm"] == arm]
        height = len(arms) - 1 - row
        places = height + np.linspace(-0.16, 0.16, len(own)) if len(own) > 1 else np.array([float(height)])
        if "low" in own:
            axis.hlines(places, own["low"], own["high"], color=colours[arm], linewidth=1, alpha=0.5)
        axis.plot(own["value"], places, "o", color=colours[arm], markersize=4, markeredgewidth=0)
        axis.vlines(own["value"].mean(), height - 0.3, height + 0.3, color=colours[arm], linewidth=2)
    axis.set_yticks(range(len(arms) - 1, -1, -1), arms)
    axis.tick_params(axis="y", labelsize=TEXT)
    axis.set_ylim(-0.6, len(arms) - 0.4)
    axis.set_xlabel(label, fontsize=SMALL, color=INK)
    return figure
