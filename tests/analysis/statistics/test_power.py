"""Seeds needed, for the spreads and differences this field meets; and an independent account of power."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from analysis.statistics.power import LARGEST, paired_power, seeds_needed

DIFFERENCES = (0.003, 0.005, 0.01, 0.02, 0.05, 0.1)
TABLE = {  # pairs needed at 80 % power and alpha = 0.05, by s.d. of the paired difference
    0.002: (6, 4, 3, 3, 2, 2),
    0.004: (16, 8, 4, 3, 2, 2),  # 2 at 0.05: power 0.834, also by simulation; scipy's noncentral t is NaN there
    0.01: (90, 34, 10, 5, 3, 3),
    0.035: (1071, 387, 99, 27, 7, 4),
    0.055: (2641, 952, 240, 62, 12, 5),
}


@pytest.mark.parametrize("sd", TABLE)
def test_table_of_paired_seeds(sd: float) -> None:
    assert tuple(seeds_needed(sd, difference) for difference in DIFFERENCES) == TABLE[sd]


@pytest.mark.parametrize(("effect", "pairs"), [(0.5, 10), (1.0, 10), (0.0857, 1070), (0.0857, 1071), (9.0, 2), (0, 5)])
def test_power_against_statsmodels(effect: float, pairs: int) -> None:
    expected = TTestPower().power(effect, pairs, 0.05, alternative="two-sided")
    assert paired_power(effect, pairs) == pytest.approx(expected, abs=2e-4)


def test_power_where_the_noncentral_t_gives_up() -> None:
    draws = np.random.default_rng(0).normal(12.5, 1.0, size=(200_000, 2))
    t = draws.mean(1) / (draws.std(1, ddof=1) / np.sqrt(2))
    assert paired_power(12.5, 2) == pytest.approx((t > 12.706).mean(), abs=0.005)


def test_more_noise_or_less_difference_needs_more_seeds() -> None:
    assert seeds_needed(0.0, 0.1) == 2
    assert seeds_needed(1.0, 1e-6) == LARGEST
    assert seeds_needed(0.02, 0.01, alpha=0.01) > seeds_needed(0.02, 0.01)
