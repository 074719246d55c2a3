"""Forest plot: every arm's paired difference from the reference with its interval, and the margin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.off_scale import off_scale
from analysis.plots.style import COLOURS, FAINT, INK, SMALL, TEXT, WIDE, dress

TITLE = "Differences from the reference"
HOW_TO_READ = (
    "A large dot is an arm's mean difference with its interval, a small one a pair of seeds; the margin is shaded, an "
    "arrow with a number is a difference far off the scale. The colour is the verdict, by tests of all arms together, "
    "which an interval, being of one arm, may seem to forestall."
)
VERDICT_COLOURS = {"better": COLOURS[2], "worse": COLOURS[1], "equivalent": COLOURS[0]}
UNSETTLED = "#7f7f7f"
ROW = 0.36  # inches


def forest(
    arms: pd.DataFrame, pairs: pd.DataFrame, margin: float, label: str, *, lower_is_better: bool = True
) -> Figure:
    """arms: indexed by arm, columns difference, low, high, verdict; pairs: columns arm and difference."""
    figure = Figure(figsize=(WIDE, 1.0 + ROW * len(arms)), layout="constrained")
    axis = figure.subplots()
    dress(axis)
    axis.grid(False)
    if np.isfinite(margin):
        axis.axvspan(-margin, margin, color=FAINT, alpha=0.35, linewidth=0)
    axis.axvline(0, color=INK, linewidth=1)
    for row, (arm, found) in enumerate(arms.iterrows()):
        own = pairs.loc[pairs["arm"] == arm, "difference"].to_numpy(float)
        _draw(axis, len(arms) - 1 - row, found, own)
    axis.set_yticks(range(len(arms) - 1, -1, -1), [str(arm) for arm in arms.index])
    axis.tick_params(axis="y", labelsize=TEXT)
    axis.set_ylim(-0.7, len(arms) - 0.3)
    _sides(axis, lower_is_better)
    _in_sight(axis, arms, pairs, margin)
    axis.set_xlabel(label, fontsize=SMALL, color=INK)
    return figure


def _draw(axis: Axes, height: int, found: pd.Series, own: np.ndarray) -> None:
    colour = VERDICT_COLOURS.get(str(found["verdict"]), UNSETTLED)
    difference, low, high = (float(found[name]) for name in ("difference", "low", "high"))
    axis.plot(own, np.full(len(own), height - 0.24), "o", color=colour, markersize=2.5, alpha=0.6, markeredgewidth=0)
    if np.isfinite(difference):
        axis.hlines(height, low, high, color=colour, linewidth=2)
        axis.plot(difference, height, "o", color=colour, markersize=6.5)
    else:
        words = str(found["verdict"])
        axis.text(0.01, height, words, transform=axis.get_yaxis_transform(), fontsize=SMALL, color=INK, va="center")


def _sides(axis: Axes, lower_is_better: bool) -> None:
    left, right = ("better", "worse") if lower_is_better else ("worse", "better")
    style = {"transform": axis.transAxes, "fontsize": SMALL, "color": INK, "alpha": 0.8}
    axis.text(0.0, 1.01, f"\u2190 {left}", ha="left", va="bottom", **style)  # type: ignore[arg-type]
    axis.text(1.0, 1.01, f"{right} \u2192", ha="right", va="bottom", **style)  # type: ignore[arg-type]


def _in_sight(axis: Axes, arms: pd.DataFrame, pairs: pd.DataFrame, margin: float) -> None:
    """0, the margin, every interval and every pair; what is far off the others is written at the edge instead."""
    far = arms.index[off_scale(arms["difference"].to_numpy(float), margin if np.isfinite(margin) else 0.0)]
    intervals = arms.drop(index=far)[["difference", "low", "high"]].to_numpy(float).ravel()
    dots = pairs.loc[~pairs["arm"].isin(far), "difference"].to_numpy(float)
    reach = np.concatenate([intervals, dots, [0.0, -margin, margin]])
    low, high = np.nanmin(reach), np.nanmax(reach)
    if high > low:
        axis.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    for arm in far:
        row = list(arms.index).index(arm)
        difference, height = float(arms["difference"].iloc[row]), len(arms) - 1 - row
        right = difference > high
        words = f"{difference:+.3g} \u2192" if right else f"\u2190 {difference:+.3g}"
        where: dict[str, Any] = {
            "transform": axis.get_yaxis_transform(),
            "ha": "right" if right else "left",
            "va": "center",
        }
        axis.text(0.99 if right else 0.01, height, words, fontsize=SMALL, color=INK, **where)
