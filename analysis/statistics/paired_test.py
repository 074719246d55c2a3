"""The paired t-test on differences of seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

FEWEST = 5  # pairs; below, normality carries everything and no p-value is given


@dataclass(frozen=True)
class PairedTest:
    """Mean and sample s.d. of n differences, their t interval (low, high), and the two-sided p of "no difference".

    NaN where n is too small: s.d. and interval below 2, p below FEWEST.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    p: float


def paired_test(differences: np.ndarray, level: float = 0.95) -> PairedTest:
    """Of differences [n] that are all finite. Student 1908; equal differences give p = 1 at zero, else p = 0."""
    n = len(differences)
    if n < 2:
        return PairedTest(n, float(differences.mean()) if n else np.nan, *(np.nan,) * 4)
    mean, sd = float(differences.mean()), float(differences.std(ddof=1))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * sd / np.sqrt(n)
    return PairedTest(n, mean, sd, mean - half, mean + half, _p(differences, mean, sd) if n >= FEWEST else np.nan)


def _p(differences: np.ndarray, mean: float, sd: float) -> float:
    if sd == 0:
        return 1.0 if mean == 0 else 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)
