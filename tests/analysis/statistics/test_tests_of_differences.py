"""Tests and corrections against hand computations and the libraries' other routes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from analysis.statistics.collapse_rate import collapse_rate
from analysis.statistics.equivalence import equivalence_p
from analysis.statistics.family import holm
from analysis.statistics.paired_test import paired_test
from analysis.statistics.rank_correlation import spearman_by_layer

REFERENCE = np.array([1.00, 1.02, 0.98, 1.01, 1.03, 0.99])
ARM = np.array([0.95, 0.99, 0.96, 0.97, 0.97, 0.95])
DIFFERENCES = ARM - REFERENCE  # -5, -3, -2, -4, -6, -4 hundredths


def test_paired_test_by_hand() -> None:
    found = paired_test(DIFFERENCES)
    sd = math.sqrt((1 + 1 + 4 + 0 + 4 + 0) / 5) / 100  # deviations from -4
    assert (found.n, found.mean, found.sd) == (6, pytest.approx(-0.04), pytest.approx(sd))
    half = 2.570582 * sd / math.sqrt(6)  # t of 5 degrees of freedom
    assert (found.low, found.high) == (pytest.approx(-0.04 - half), pytest.approx(-0.04 + half))
    assert found.p == pytest.approx(stats.ttest_rel(ARM, REFERENCE).pvalue)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_few_seeds_get_an_interval_but_no_p(n: int) -> None:
    found = paired_test(DIFFERENCES[:n])
    assert found.low < found.mean < found.high
    assert math.isnan(found.p)
    assert math.isnan(equivalence_p(DIFFERENCES[:n], 0.1))


def test_one_seed_or_none() -> None:
    assert paired_test(DIFFERENCES[:1]).mean == DIFFERENCES[0]
    assert math.isnan(paired_test(DIFFERENCES[:1]).low)
    assert math.isnan(paired_test(DIFFERENCES[:0]).mean)


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.25, 0.0)])
def test_equal_differences(value: float, p: float) -> None:
    found = paired_test(np.full(5, value))
    assert (found.p, found.low, found.high) == (p, value, value)
    assert equivalence_p(np.full(5, value), 0.1) == (1.0 if value else 0.0)


@pytest.mark.parametrize("margin", [0.005, 0.05, 0.1])
def test_equivalence_against_statsmodels_and_the_larger_of_two_tests(margin: float) -> None:
    expected, *_ = ttost_paired(ARM, REFERENCE, -margin, margin)
    above = stats.ttest_1samp(DIFFERENCES, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(DIFFERENCES, margin, alternative="less").pvalue
    assert equivalence_p(DIFFERENCES, margin) == pytest.approx(expected) == pytest.approx(max(above, below))


def test_holm_by_hand() -> None:
    adjusted = holm(np.array([0.01, np.nan, 0.04, 0.03]))
    assert adjusted[[0, 2, 3]] == pytest.approx([0.03, 0.06, 0.06])  # 3 x 0.01, then 2 x 0.03, then at least that
    assert math.isnan(adjusted[1])
    assert np.isnan(holm(np.array([np.nan]))).all()


def test_collapse_rate_by_wilsons_formula() -> None:
    z, n, rate = 1.959964, 5, 0.2
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    assert collapse_rate(1, 5) == pytest.approx((0.2, centre - half, centre + half))
    assert collapse_rate(0, 5)[1] == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(collapse_rate(0, 0)[0])


def test_spearman_by_layer() -> None:
    capital = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0]])
    credit = np.array([[1.0, 4.0, 9.0, 16.0], [1.0, 4.0, 9.0, 16.0], [2.0, 1.0, 3.0, np.nan], [1.0, 2.0, 3.0, 4.0]])
    found = spearman_by_layer(capital, credit)
    assert found[:3] == pytest.approx([1.0, -1.0, 0.5])
    assert math.isnan(found[3])
