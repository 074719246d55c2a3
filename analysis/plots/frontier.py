"""Loss against balance: what an arm pays in loss for the balance it has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.off_scale import off_scale
from analysis.plots.placed_names import place_names
from analysis.plots.style import COLOURS, FAINT, INK, SMALL, WIDE, name_axes, panel

TITLE = "The frontier"
HOW_TO_READ = (
    "Down is better text, left is better balance, so the best arms lie at the lower left: a dot is a seed, a ring the "
    "mean of an arm, a line joins arms that differ in one number, the dotted line is the balance that chance shows."
)
USUAL = 0.03  # of the median loss: arms within a few times this share one scale
NUMBER = re.compile(r"(?<![A-Za-z0-9.])\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![A-Za-z0-9.])")  # not the 2 of v21 or 3r1t
COLUMNS = ("arm", "maxvio", "loss")


def frontier(runs: pd.DataFrame, colours: Mapping[str, str], chance: float = np.nan) -> Figure:
    """runs: a row per run with COLUMNS, loss in nats per token; a colour for every arm; chance as MaxVio."""
    figure, axis = panel(WIDE, 4.4)
    axis.grid(axis="x", color=FAINT, linewidth=0.5)
    known = runs.dropna(subset=["maxvio", "loss"])
    means = known.groupby("arm", sort=False)[["maxvio", "loss"]].mean()
    for series in coefficient_series(list(means.index)):
        points = means.loc[series]
        axis.plot(points["maxvio"], points["loss"], color=INK, linewidth=0.9, alpha=0.5, zorder=1.5)
    for arm, own in known.groupby("arm", sort=False):
        colour = colours.get(str(arm), COLOURS[0])
        axis.plot(own["maxvio"], own["loss"], "o", color=colour, markersize=3, alpha=0.55, markeredgewidth=0)
        mean = means.loc[arm]
        axis.plot(mean["maxvio"], mean["loss"], "o", markersize=8, mfc="none", mec=colour, mew=2)
    if np.isfinite(chance):
        axis.axvline(chance, color=INK, linewidth=0.9, linestyle=(0, (1.5, 2)))
    _scale(axis, known, chance)
    _far(axis, means, known)
    low, high = axis.get_ylim()
    near = means[means["loss"].between(low, high)]
    place_names(axis, [str(arm) for arm in near.index], near.to_numpy())
    name_axes(axis, "MaxVio on the held-out text (0: every expert serves alike)", "held-out loss, nats per token")
    return figure


def coefficient_series(arms: list[str]) -> list[list[str]]:
    """Arms whose labels differ in one number only, in the order of that number: [['aux 0.01', 'aux 0.1']]."""
    groups: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for arm in arms:
        for found in NUMBER.finditer(arm):
            groups.setdefault((arm[: found.start()], arm[found.end() :]), []).append((float(found[0]), arm))
    return [[arm for _, arm in sorted(group)] for group in groups.values() if len(group) > 1]


def _far(axis: Axes, means: pd.DataFrame, known: pd.DataFrame) -> None:
    """An arm far off the others is named with its loss at the edge of the scale that shows the others."""
    losses = means["loss"].to_numpy(float)
    far = off_scale(losses, USUAL * abs(float(np.median(losses)))) if losses.size else np.zeros(0, dtype=bool)
    if not far.any():
        return
    near, place = known.loc[known["arm"].isin(means.index[~far]), "loss"], {True: 0.98, False: 0.02}
    room = 0.15 * (near.max() - near.min()) or USUAL * near.max()
    axis.set_ylim(near.min() - room, near.max() + room)
    for arm, mean in means[far].iterrows():
        above = bool(mean["loss"] > near.max())
        words = f"{arm}, {mean['loss']:.3g} {chr(0x2191) if above else chr(0x2193)}"
        where: dict[str, Any] = {
            "transform": axis.get_xaxis_transform(),
            "ha": "center",
            "va": "top" if above else "bottom",
        }
        axis.text(mean["maxvio"], place[above], words, fontsize=SMALL, color=INK, **where)


def _scale(axis: Axes, known: pd.DataFrame, chance: float) -> None:
    """From 0 where balance is near; logarithmic where it spans more than a decade."""
    values = known["maxvio"].to_numpy(float)
    if values.size and values.min() > 0 and values.max() / values.min() > 10:
        axis.set_xscale("log")
        low = np.nanmin([values.min(), chance])
        axis.set_xlim(low / 1.4, values.max() * 2.0)
        ticks = [tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if low / 1.4 < tick < values.max() * 2]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=SMALL)
        axis.set_xticks([], minor=True)
    else:
        axis.margins(x=0.15)
