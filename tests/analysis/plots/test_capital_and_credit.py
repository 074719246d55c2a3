"""Capital over time above, credit with its interval below."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.plots.capital_and_credit import capital_and_credit

TOKENS = np.arange(1.0, 11.0)
NAMES, COLOURS = ["R0", "T0"], ["#0072b2", "#d55e00"]


def test_first_middle_and_last_layer_with_every_expert() -> None:
    capital = np.full((10, 5, 2), 0.5)
    credit = (TOKENS, np.full((10, 5, 2), 0.02), np.full((10, 5, 2), 0.01))
    axes = capital_and_credit(TOKENS, capital, credit, NAMES, COLOURS).axes
    assert [axis.get_title(loc="left")[:3] for axis in axes[:3]] == ["L00", "L02", "L04"]
    assert len(axes) == 6
    assert [text.get_text() for text in axes[0].texts] == NAMES
    low, high = (band.get_paths()[0].get_extents().get_points()[:, 1] for band in axes[3].collections[:1]).__next__()
    assert (low, high) == pytest.approx((0.02 - 1.96 * 0.01, 0.02 + 1.96 * 0.01))


def test_without_credit_there_is_one_row_and_a_model_of_one_layer_one_column() -> None:
    axes = capital_and_credit(TOKENS, np.full((10, 1, 2), 0.5), None, NAMES, COLOURS).axes
    assert len(axes) == 1


def test_the_first_wide_intervals_do_not_set_the_scale() -> None:
    errors = np.full((10, 1, 2), 0.01)
    errors[:4] = 1e6
    axes = capital_and_credit(TOKENS, np.full((10, 1, 2), 0.5), (TOKENS, 0 * errors, errors), NAMES, COLOURS).axes
    assert axes[1].get_ylim()[1] < 1
