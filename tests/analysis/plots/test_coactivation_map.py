"""Pairs of experts."""

from __future__ import annotations

import numpy as np

from analysis.plots.coactivation_map import coactivation_map


def test_three_layers_without_the_diagonal() -> None:
    together = np.full((5, 3, 3), 0.5)
    together[0, 1] = np.nan
    figure = coactivation_map(together, 0.4, ["R0", "R1", "T0"])
    assert [axis.get_title(loc="left") for axis in figure.axes[:3]] == ["L00", "L02", "L04"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["50"] * 4
    assert len(figure.axes[1].texts) == 6
    assert [float(line.get_ydata()[0]) for line in figure.axes[3].lines] == [0.4]  # type: ignore[index]


def test_nobody_who_ever_won_and_many_experts_can_be_drawn() -> None:
    figure = coactivation_map(np.full((1, 9, 9), np.nan), 0.1, [f"R{number}" for number in range(9)])
    assert len(figure.axes[0].texts) == 0
