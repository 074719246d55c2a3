"""Running means and even columns against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.plots.smoothing import evenly, running_mean, window_for


@pytest.mark.parametrize("window", [1, 3, 7, 50])
def test_running_mean_is_the_mean_of_what_is_known(window: int) -> None:
    values = np.random.default_rng(0).normal(size=(40, 2))
    values[3:6] = np.nan
    found = running_mean(values, window)
    for index in range(len(values)):
        part = values[max(0, index - window + 1) : index + 1]
        for column in range(2):
            known = part[np.isfinite(part[:, column]), column]
            expected = known.mean() if known.size else np.nan
            assert found[index, column] == pytest.approx(expected, nan_ok=True)


def test_the_window_is_never_empty() -> None:
    assert [window_for(n) for n in (0, 1, 29, 60, 600)] == [1, 1, 1, 2, 20]


def test_columns_are_means_of_their_part_and_repeat_the_one_before() -> None:
    tokens = np.array([10.0, 20.0, 30.0, 90.0, 100.0])
    values = np.arange(5.0)[:, None]
    assert evenly(tokens, values, columns=5)[:, 0].tolist() == [0.5, 2.0, 2.0, 2.0, 3.5]
    assert evenly(tokens[:1], values[:1]).tolist() == [[0.0]]
    late = evenly(np.array([80.0, 90.0, 100.0]), values[:3], columns=2)
    assert late[:, 0].tolist() == [1.0, 1.0]
