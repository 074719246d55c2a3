"""The metric that decides: its direction, its margin in its own unit, and which runs have a value of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from camoe.config import ConfigError
from camoe.config.analysis import AnalysisConfig
from camoe.config.refusal import nearest
from camoe.tracking.metric_definitions import BY_RECORDED_NAME

LOWER, HIGHER = "lower", "higher"
BETTER = {
    **dict.fromkeys(("loss", "ppl", "bpb", "total", "language_model", "flops_per_token"), LOWER),
    **dict.fromkeys(("maxvio_global", "maxvio_batch", "maxvio_micro", "load_imbalance", "minvio"), LOWER),
    **dict.fromkeys(("load_cv", "load_gini", "kl_uniform", "dead_experts", "peak_memory"), LOWER),
    **dict.fromkeys(("load_entropy", "effective_experts", "gate_mi", "tokens_per_s", "efficiency"), HIGHER),
}


@dataclass(frozen=True)
class PrimaryMetric:
    """`better` says which direction is good; `margin` is in `unit`, NaN while no run tells its bytes per token."""

    name: str
    unit: str
    better: str
    margin: float


def primary_metric(plan: AnalysisConfig, runs: pd.DataFrame) -> PrimaryMetric:
    """The plan's metric on these runs; ConfigError for one that no run has, that is neither good nor bad, or whose
    margin cannot be converted.
    """
    name = plan.primary_metric
    if name not in BY_RECORDED_NAME or (name not in runs and not _may_come(runs)):
        near = nearest(name, [column for column in runs if column in BY_RECORDED_NAME] or BY_RECORDED_NAME)
        raise ConfigError(
            f"analysis.primary_metric: no metric '{name}' in these runs" + (f"; did you mean {near}?" if near else "")
        )
    kind = _kind(name)
    if kind not in BETTER:
        good = ", ".join(sorted(BETTER))
        raise ConfigError(f"analysis.primary_metric: {name} is neither good nor bad; must be one of the kind {good}")
    return PrimaryMetric(name, BY_RECORDED_NAME[name].unit, BETTER[kind], _margin(plan, runs))


def with_values(runs: pd.DataFrame, plan: AnalysisConfig) -> pd.DataFrame:
    """The runs with three columns more, under the plan's divergence policy.

    value: the primary metric, of finished runs. diverged: failed (where the plan says so), or finished with a primary
    value or bits per byte that are not finite, or with more bits per byte than plan.diverged_bpb. counted: finished and
    not diverged.
    """
    finished, failed = runs["status"] == "finished", runs["status"] == "failed"
    value = _numbers(runs, plan.primary_metric).where(finished)
    bpb = _numbers(runs, "final/bpb")
    lost = finished & ~(np.isfinite(value) & np.isfinite(bpb) & (bpb <= plan.diverged_bpb))
    diverged = lost | (failed & plan.failed_is_diverged)
    return runs.assign(value=value, diverged=diverged, counted=finished & ~diverged)


def _margin(plan: AnalysisConfig, runs: pd.DataFrame) -> float:
    """In the metric's unit: bits/byte = nats/token x (bits/byte of a run over its nats/token)."""
    kind = _kind(plan.primary_metric)
    if plan.margin_unit == "metric" or kind in ("loss", "language_model"):
        return plan.margin
    if kind != "bpb":
        raise ConfigError(
            f"analysis.margin_unit: nats_per_token says nothing about {plan.primary_metric}; "
            "give the margin in the metric's own unit, with margin_unit=metric"
        )
    loss = plan.primary_metric.replace("bpb", "loss")
    return plan.margin * float((_numbers(runs, plan.primary_metric) / _numbers(runs, loss)).median())


def _kind(name: str) -> str:
    """final/bpb -> bpb; routing/maxvio_batch/worst -> maxvio_batch."""
    return name.split("/")[1]


def _numbers(runs: pd.DataFrame, name: str) -> pd.Series:
    column = runs[name] if name in runs else pd.Series(np.nan, index=runs.index)
    return pd.to_numeric(column, errors="coerce")


def _may_come(runs: pd.DataFrame) -> bool:
    """Whether nothing has finished, so that a final metric cannot be there."""
    return not (runs["status"] == "finished").any()
