"""Do two quantities rank the experts of a layer alike?"""

from __future__ import annotations

import numpy as np
from scipy import stats


def spearman_by_layer(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation over the experts of each layer, [L] from two [L, E].

    NaN where one of them is the same for all experts, or fewer than two are known in both (others are NaN).
    """
    return np.array([_spearman(*pair) for pair in zip(first, second, strict=True)])


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    known = np.isfinite(first) & np.isfinite(second)
    first, second = first[known], second[known]
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(stats.spearmanr(first, second).statistic)
