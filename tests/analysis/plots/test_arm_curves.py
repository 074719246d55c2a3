"""Curves of arms over a budget."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.plots.arm_curves import arm_curves, on_one_grid
from analysis.plots.arm_dots import arm_dots

COLOURS = {"a": "#000000", "b": "#ff0000"}
X = np.array([10.0, 20.0, 30.0])


def test_seeds_meet_on_the_part_of_the_budget_that_all_have() -> None:
    grid, values = on_one_grid([(X, X), (X + 5, 2 * X), (X[:1], X[:1]), (X, np.full(3, np.nan))])
    assert (grid[0], grid[-1]) == (15, 30)
    assert values.shape == (2, len(grid))
    assert values[0] == pytest.approx(grid)
    assert values[1] == pytest.approx(2 * (grid - 5))
    assert on_one_grid([])[0].size == 0
    assert on_one_grid([(X, X), (X + 100, X)])[0].size == 0


def test_an_arm_is_its_mean_in_a_band_of_its_seeds() -> None:
    axis = arm_curves({"a": [(X, X), (X, X + 2)], "b": [(X, X + 7)]}, COLOURS, "tokens", "loss").axes[0]
    assert np.asarray(axis.lines[0].get_ydata())[[0, -1]] == pytest.approx([11, 31])
    band = axis.collections[0].get_paths()[0].get_extents().get_points()[:, 1]
    assert band == pytest.approx([10, 32])
    assert [text.get_text() for text in axis.texts] == ["a", "b"]


def test_arms_without_a_curve_are_left_out_and_the_floor_is_drawn() -> None:
    axis = arm_curves({"a": [], "b": [(X, X)]}, COLOURS, "tokens", "MaxVio", log=True, floor=0.5).axes[0]
    assert [text.get_text() for text in axis.texts] == ["b"]
    assert axis.get_yscale() == "log"
    assert 0.5 in [float(np.asarray(line.get_ydata())[0]) for line in axis.lines]


def test_dots_of_every_run_and_the_mean_of_an_arm() -> None:
    import pandas as pd

    frame = pd.DataFrame({"arm": ["a", "a", "b"], "value": [1.0, 3.0, 5.0], "low": 0.5, "high": 6.0})
    axis = arm_dots(frame, COLOURS, "x").axes[0]
    dots = [list(np.asarray(line.get_xdata())) for line in axis.lines if line.get_marker() == "o"]
    assert dots == [[1.0, 3.0], [5.0]]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
