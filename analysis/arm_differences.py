"""One arm against the reference: the paired difference, its interval and its tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.document_scores import document_differences
from analysis.primary_metric import PrimaryMetric
from analysis.statistics.equivalence import equivalence_p
from analysis.statistics.hierarchical_bootstrap import bootstrap_interval
from analysis.statistics.paired_test import FEWEST, paired_test
from analysis.statistics.power import seeds_needed
from camoe.config.analysis import AnalysisConfig

DOCUMENTS = "bootstrap, documents"


def arm_differences(pairs: pd.DataFrame, metric: PrimaryMetric, plan: AnalysisConfig) -> dict[str, Any]:
    """The columns of `Comparison.arms` that come from pairs with the reference, but those of the family of arms."""
    differences = pairs["difference"].to_numpy(dtype=float)
    test = paired_test(differences, 1 - plan.alpha)
    low, high, interval = test.low, test.high, "t" if test.n > 1 else ""
    if test.n >= FEWEST:
        documents = document_differences(pairs, metric.name)
        low, high = bootstrap_interval(differences, documents, level=1 - plan.alpha)
        interval = "bootstrap" if documents is None else DOCUMENTS
    return {
        "pairs": test.n,
        "difference": test.mean,
        "difference_sd": test.sd,
        "low": low,
        "high": high,
        "interval": interval,
        "p": test.p,
        "p_equivalence": equivalence_p(differences, metric.margin),
        "seeds_needed": seeds_needed(test.sd, metric.margin, plan.alpha) if np.isfinite(test.sd) else np.nan,
        "flops_ratio": pairs["flops_ratio"].mean(),
    }
