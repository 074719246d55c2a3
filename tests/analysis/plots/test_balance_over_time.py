"""MaxVio with its floor."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.plots.balance_over_time import FLOOR, MEAN, WORST, balance_over_time


def frame(worst: float = 1.0) -> pd.DataFrame:
    index = pd.Index(np.arange(1.0, 61.0))
    return pd.DataFrame({MEAN: 0.5, WORST: worst, FLOOR: 0.04}, index=index)


def test_mean_worst_and_chance_are_drawn_on_a_log_scale() -> None:
    axis = balance_over_time(frame()).axes[0]
    assert axis.get_yscale() == "log"
    assert {text.get_text() for text in axis.texts} == {"worst layer", "mean of layers", "chance"}
    levels = {float(np.asarray(line.get_ydata())[-1]) for line in axis.lines if line.get_transform() == axis.transData}
    assert {0.5, 1.0, 0.04} <= levels
    low, high = axis.get_ylim()
    assert low < 0.04
    assert high > 1.0


def test_a_column_that_was_not_recorded_is_not_drawn() -> None:
    axis = balance_over_time(frame(worst=np.nan)).axes[0]
    assert {text.get_text() for text in axis.texts} == {"mean of layers", "chance"}


def test_perfect_balance_can_be_drawn() -> None:
    perfect = frame()
    perfect[:] = 0.0
    assert balance_over_time(perfect).axes[0].get_yscale() == "linear"
