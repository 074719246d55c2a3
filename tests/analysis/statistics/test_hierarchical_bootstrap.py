"""The interval covers a known truth as often as it says, with few seeds and with few documents."""

from __future__ import annotations

import time

import numpy as np
import pytest

from analysis.statistics.hierarchical_bootstrap import BLOCKS, DocumentDifferences, bootstrap_interval
from analysis.statistics.paired_test import paired_test

REPEATS = 300
TRUTH = 0.7


@pytest.mark.parametrize("seeds", [5, 8])
def test_coverage_over_seeds(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    samples = random.normal(TRUTH, 2.0, size=(REPEATS, seeds))
    assert 0.9 < _coverage([bootstrap_interval(sample, draws=1000, seed=i) for i, sample in enumerate(samples)]) < 0.99


@pytest.mark.parametrize("spread_of_seeds", [0.1, 1.0])
def test_coverage_over_seeds_and_documents(spread_of_seeds: float) -> None:
    """A document that is hard for one arm is so in every seed: an interval from seeds alone would be too short."""
    seeds, documents = 6, 50
    random = np.random.default_rng(1)
    intervals, without = [], []
    for i in range(REPEATS):
        of_seed = random.normal(TRUTH, spread_of_seeds, size=(seeds, 1))
        amount = of_seed + random.normal(0, 6.0, size=documents) + random.normal(0, 1.0, size=(seeds, documents))
        found = DocumentDifferences(amount, np.ones(documents))
        intervals.append(bootstrap_interval(amount.mean(1), found, draws=1000, seed=i))
        without.append(bootstrap_interval(amount.mean(1), draws=1000, seed=i))
    assert 0.9 < _coverage(intervals) < 0.995
    assert _coverage(without) < 0.85


def test_as_wide_as_students_interval() -> None:
    sample = np.random.default_rng(3).normal(size=12)
    low, high = bootstrap_interval(sample)
    student = paired_test(sample)
    assert high - low == pytest.approx(student.high - student.low, rel=0.1)


def test_the_same_for_the_same_seed_and_narrower_at_a_lower_level() -> None:
    sample = np.random.default_rng(3).normal(size=6)
    assert bootstrap_interval(sample) == bootstrap_interval(sample) != bootstrap_interval(sample, seed=1)
    low, high = bootstrap_interval(sample, level=0.5)
    assert bootstrap_interval(sample)[0] < low < high < bootstrap_interval(sample)[1]


def test_documents_count_by_their_size() -> None:
    """One document of the weight of all others, on which the arm loses 2; it gains 1 elsewhere."""
    weight = np.array([99.0, *np.ones(99)])
    amount = np.tile(np.where(np.arange(100) == 0, 2.0, -1.0) * weight, (5, 1))
    low, high = bootstrap_interval(amount.sum(1) / weight.sum(), DocumentDifferences(amount, weight))
    assert -1.01 < low < 0 < 0.5 < high < 2


def test_many_documents_in_blocks_take_no_minutes() -> None:
    random = np.random.default_rng(5)
    amount = random.normal(0.1, 1.0, size=(5, 20 * BLOCKS))
    began = time.perf_counter()
    low, high = bootstrap_interval(amount.mean(1), DocumentDifferences(amount, np.ones(20 * BLOCKS)))
    assert time.perf_counter() - began < 20
    error = 1 / np.sqrt(20 * BLOCKS * 5)
    assert low < 0.1 < high
    assert high - low < 12 * error


def _coverage(intervals: list[tuple[float, float]]) -> float:
    return float(np.mean([low <= TRUTH <= high for low, high in intervals]))
