"""How many paired seeds a difference needs."""

from __future__ import annotations

import numpy as np
from scipy import stats

LARGEST = 10**7
POINTS = (np.arange(4000) + 0.5) / 4000  # of the distribution of a sample s.d., equally likely


def seeds_needed(sd: float, difference: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Smallest number of pairs, at least 2, at which a two-sided paired t-test finds `difference`.

    sd: of the paired differences, in the unit of `difference` > 0. LARGEST where even that many would not do.
    """
    if not sd > 0:
        return 2
    low, high = 1, 2
    while paired_power(difference / sd, high, alpha) < power:
        low, high = high, 2 * high
        if high > LARGEST:
            return LARGEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if paired_power(difference / sd, middle, alpha) >= power else (middle, high)
    return high


def paired_power(effect: float, pairs: int, alpha: float = 0.05) -> float:
    """Chance that a two-sided paired t-test is significant; effect: mean over s.d. of the differences.

    Exact: the normal tail beyond the critical value times a sample s.d. s, averaged over the chi distribution of s.
    That is the noncentral t distribution, which scipy (and statsmodels by it) answers with NaN at scattered points.
    """
    critical, shift = stats.t.ppf(1 - alpha / 2, pairs - 1), effect * np.sqrt(pairs)
    limits = critical * np.sqrt(stats.chi2.ppf(POINTS, pairs - 1) / (pairs - 1))
    return float((stats.norm.sf(limits - shift) + stats.norm.cdf(-limits - shift)).mean())
