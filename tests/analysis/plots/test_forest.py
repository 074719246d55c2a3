"""Differences with their intervals, and the margin."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.plots.forest import UNSETTLED, VERDICT_COLOURS, forest

ARMS = pd.DataFrame(
    {
        "difference": [-0.02, 0.001, np.nan],
        "low": [-0.03, -0.004, np.nan],
        "high": [-0.01, 0.006, np.nan],
        "verdict": ["better", "undecided", "no runs"],
    },
    index=["good", "unclear", "absent"],
)
PAIRS = pd.DataFrame({"arm": ["good", "good", "unclear"], "difference": [-0.025, -0.015, 0.001]})


def test_every_arm_is_a_row_with_its_interval_its_pairs_and_its_verdicts_colour() -> None:
    axis = forest(ARMS, PAIRS, 0.005, "difference").axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["good", "unclear", "absent"]
    intervals = [collection.get_segments()[0][:, 0].tolist() for collection in axis.collections]  # type: ignore[attr-defined]
    assert intervals == [[-0.03, -0.01], [-0.004, 0.006]]
    dots = [line for line in axis.lines if line.get_marker() == "o"]
    assert [list(np.atleast_1d(line.get_xdata())) for line in dots] == [[-0.025, -0.015], [-0.02], [0.001], [0.001], []]
    assert [dots[1].get_color(), dots[3].get_color()] == [VERDICT_COLOURS["better"], UNSETTLED]
    low, high = axis.patches[0].get_extents().transformed(axis.transData.inverted()).intervalx
    assert (round(low, 6), round(high, 6)) == (-0.005, 0.005)
    assert "no runs" in [text.get_text() for text in axis.texts]


def test_everything_is_in_sight_and_the_better_side_is_named() -> None:
    axis = forest(ARMS, PAIRS, 0.005, "difference", lower_is_better=False).axes[0]
    low, high = axis.get_xlim()
    assert low < -0.03
    assert high > 0.006
    sides = {text.get_text() for text in axis.texts}
    assert {"\u2190 worse", "better \u2192"} <= sides


def test_a_margin_that_is_unknown_is_no_band() -> None:
    assert len(forest(ARMS, PAIRS, np.nan, "difference").axes[0].patches) == 0
