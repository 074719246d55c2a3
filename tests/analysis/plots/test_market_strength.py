"""Alpha and what the market is worth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.plots.market_strength import GAIN_NAMES, alpha_over_time, gain_over_time


def test_alpha_is_the_mean_of_layers_within_their_range() -> None:
    alpha = np.array([[0.2, 0.4], [0.3, 0.5]])
    axis = alpha_over_time(np.array([1.0, 2.0]), alpha).axes[0]
    assert np.asarray(axis.lines[0].get_ydata()) == pytest.approx([0.3, 0.4])
    assert axis.collections[0].get_paths()[0].get_extents().get_points()[:, 1] == pytest.approx([0.2, 0.5])
    assert axis.get_ylim()[0] == 0


def test_the_gain_has_its_interval_and_zero_in_sight() -> None:
    index = pd.Index(np.arange(1.0, 11.0))
    frame = pd.DataFrame(dict(zip(GAIN_NAMES, (0.03, 0.02, 0.04), strict=True)), index=index)
    frame.iloc[0, 2] = 1e9
    axis = gain_over_time(frame).axes[0]
    assert axis.get_ylim()[0] < 0 < axis.get_ylim()[1] < 1
    assert np.asarray(axis.lines[0].get_ydata()) == pytest.approx([0.03] * 10)
