"""Seeds needed, for the spreads and differences this field meets; and an independent account of power."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from analysis.statistics.power import LARGEST, paired_power, seeds_needed

PAGE = Path(__file__).resolve().parents[3] / "docs" / "comparing.md"


def table() -> list[list[str]]:
    """Rows of "How many seeds", the header first."""
    _, _, text = PAGE.read_text(encoding="utf-8").partition("## How many seeds")
    lines = [line.strip("|\n ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [lines[0], *lines[2:]]


def test_the_table_in_the_documentation() -> None:
    """At s.d. 0.004 and 0.05 two pairs do: power 0.834, which the simulation below confirms."""
    (_, *differences), *rows = table()
    assert len(rows) == 5
    for sd, *pairs in rows:
        assert pairs == [str(seeds_needed(float(sd), float(difference))) for difference in differences], sd


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
