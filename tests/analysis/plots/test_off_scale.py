"""What would hide everything else."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.plots.arm_curves import arm_curves
from analysis.plots.forest import forest
from analysis.plots.frontier import frontier
from analysis.plots.off_scale import off_scale

COLOURS = {"a": "#000000", "b": "#ff0000", "c": "#00ff00", "far": "#0000ff"}


def test_only_what_is_far_beyond_the_others_is_off() -> None:
    assert off_scale([4.2, 4.23, 4.18, 5.4], 0.12).tolist() == [False, False, False, True]
    assert not off_scale([4.54, 4.58, 4.62, 4.19], 0.13).any()
    assert not off_scale([1.0, 50.0], 0.1).any()
    assert not off_scale([np.nan, 1.0, 1.0], 0.1).any()
    assert off_scale([], 0.1).tolist() == []
    assert off_scale([1.0, 1.0, 2.0], 0.0).tolist() == [False, False, True]


def test_a_far_arm_is_written_at_the_edge_of_the_forest() -> None:
    arms = pd.DataFrame(
        {"difference": [0.01, -0.01, 0.9], "low": -0.02, "high": 0.02, "verdict": "worse"}, index=list("abc")
    )
    axis = forest(arms, pd.DataFrame({"arm": ["c"], "difference": [0.9]}), 0.01, "x").axes[0]
    assert axis.get_xlim()[1] < 0.1
    assert "+0.9 \u2192" in [text.get_text() for text in axis.texts]


def test_a_far_arm_leaves_the_scale_of_curves_and_frontier_to_the_others() -> None:
    x = np.array([1.0, 2.0, 3.0])
    curves = {arm: [(x, 4 + 0.01 * number - 0.1 * x)] for number, arm in enumerate("abc")} | {"far": [(x, 9.0 - x)]}
    axis = arm_curves(curves, COLOURS, "x", "y").axes[0]
    assert axis.get_ylim()[1] < 4.1
    assert "far \u2191" in [text.get_text() for text in axis.texts]
    runs = pd.DataFrame({"arm": list(COLOURS), "maxvio": [0.1, 0.2, 0.3, 0.4], "loss": [4.0, 4.1, 4.05, 9.0]})
    axis = frontier(runs, COLOURS).axes[0]
    assert axis.get_ylim()[1] < 4.3
    assert {text.get_text() for text in axis.texts} == {"a", "b", "c", "far, 9 \u2191"}
