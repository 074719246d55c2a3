"""Equivalence: "no difference that matters" as a statement, by two one-sided tests."""

from __future__ import annotations

import numpy as np
from statsmodels.stats.weightstats import DescrStatsW

from analysis.statistics.paired_test import FEWEST


def equivalence_p(differences: np.ndarray, margin: float) -> float:
    """p of TOST: the larger of the two one-sided paired t-tests against -margin and +margin; NaN below FEWEST pairs.

    Small means that the mean difference lies within the margin. Schuirmann 1987.
    """
    if len(differences) < FEWEST:
        return float("nan")
    if np.ptp(differences) == 0:
        return 0.0 if abs(differences[0]) < margin else 1.0
    return float(DescrStatsW(differences).ttost_mean(-margin, margin)[0])
