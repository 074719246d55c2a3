"""How the runs of a sweep will be judged: the plan, written down before the first of them starts."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.setting import setting

MARGIN_UNITS = ("nats_per_token", "metric")


@dataclass(kw_only=True)
class AnalysisConfig:
    """The pre-registered plan of a comparison; changes no run.

    A `final/` or `final_averaged/` metric is one evaluation on all of the held-out text. Any other metric counts as the
    mean of the last `last_evaluations` records that have it, so primary_metric=valid/bpb judges by the last five
    evaluations.

    The field states what matters in nats per token (0.005), but reports bits per byte. margin_unit=nats_per_token
    converts by the runs' own bytes per token, bits/byte = nats / (ln 2 x bytes per token), and fits the metrics loss
    and bpb; for any other metric the margin must be given in its own unit, margin_unit=metric.
    """

    primary_metric: str = setting("final/bpb", help="metric that decides; valid/NAME: mean of the last evaluations")
    margin: float = setting(0.005, help="differences below this do not matter", above=0)
    margin_unit: str = setting(
        "nats_per_token", help="unit of margin: converted for loss and bpb, or the metric's own", options=MARGIN_UNITS
    )
    alpha: float = setting(0.05, help="error rate of the whole family of arms", above=0, high=0.5)
    n_seeds: int = setting(5, help="seeds of every arm; below 5 no p-value is given", low=1)
    reference: str | None = setting(None, help="arm that the others are compared with; null: the first")
    last_evaluations: int = setting(5, help="last records that a metric other than final/ is averaged over", low=1)
    flops_tolerance: float = setting(
        0.01, help="relative difference of measured FLOPs per token that counts as equal", low=0
    )
    diverged_bpb: float = setting(
        8.0, help="a finished run with more bits per byte has diverged; 8 is a uniform guess", above=0
    )
    failed_is_diverged: bool = setting(True, help="a run that failed counts as diverged")
