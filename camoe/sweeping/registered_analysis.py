"""The plan by which a sweep will be judged, checked before its first job: a mistake would show only after the last."""

from __future__ import annotations

from collections.abc import Iterable

from camoe.config.analysis import AnalysisConfig
from camoe.config.refusal import ConfigError, nearest, not_an_option
from camoe.tracking.metric_definitions import BY_RECORDED_NAME, is_series


def check_analysis(analysis: AnalysisConfig, arms: Iterable[str]) -> None:
    """ConfigError for a primary metric that no run records as a number, or a reference that is none of the arms."""
    metric, arms = analysis.primary_metric, set(arms)
    numbers = [name for name in BY_RECORDED_NAME if not is_series(name)]
    if metric not in numbers:
        near = nearest(metric, numbers)
        hint = f"did you mean {near}?" if near else "docs/metrics.md lists them"
        raise ConfigError(f"analysis.primary_metric: no metric '{metric}'; {hint}")
    if analysis.reference is not None and analysis.reference not in arms:
        raise not_an_option("analysis.reference", analysis.reference, arms, noun="arm")
