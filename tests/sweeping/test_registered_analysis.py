"""A plan that could not be followed is refused before the sweep."""

from __future__ import annotations

import pytest

from camoe.config import ConfigError
from camoe.config.analysis import AnalysisConfig
from camoe.sweeping.registered_analysis import check_analysis


def test_the_default_plan_and_a_reference_among_the_arms() -> None:
    check_analysis(AnalysisConfig(), ["gate", "market"])
    check_analysis(AnalysisConfig(reference="market", primary_metric="valid/bpb"), ["gate", "market"])


@pytest.mark.parametrize(
    ("analysis", "problem"),
    [
        (AnalysisConfig(reference="markt"), "analysis.reference: no arm 'markt'; did you mean market"),
        (AnalysisConfig(primary_metric="final/bpbs"), "analysis.primary_metric: no metric 'final/bpbs'; did you mean"),
        (AnalysisConfig(primary_metric="final/load/by_expert"), "no metric 'final/load/by_expert'"),
    ],
)
def test_refusals(analysis: AnalysisConfig, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        check_analysis(analysis, ["gate", "market"])
