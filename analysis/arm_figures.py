"""What the counted runs of one arm came to: means over seeds, and how many runs are there at all."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from analysis.statistics.collapse_rate import collapse_rate

MEANS = {  # column of `Comparison.arms` -> column of `load_runs`
    "mean": "value",
    "bpb": "final/bpb",
    "bpb_error": "final/bpb_error",
    "loss": "final/loss",
    "maxvio_global": "final/maxvio_global",
    "maxvio_global_chance": "final/maxvio_noise_floor",
    "maxvio_batch": "routing/maxvio_batch",
    "maxvio_batch_chance": "routing/maxvio_noise_floor",
    "dead_experts": "final/dead_experts",
    "flops_per_token": "flops_per_token",
    "tokens_per_s": "tokens_per_s",
    "tokens": "tokens",
}
SPREADS = {"sd": "value", "bpb_sd": "final/bpb", "loss_sd": "final/loss"}


def arm_figures(runs: pd.DataFrame, level: float) -> dict[str, Any]:
    """The columns of `Comparison.arms` that need no reference, of the runs of one arm."""
    counted = runs[runs["counted"]]
    found = {name: _numbers(counted, column).mean() for name, column in MEANS.items()}
    spread = {name: _numbers(counted, column).std(ddof=1) for name, column in SPREADS.items()}
    return {**_counts(runs, level), **found, **spread}


def _counts(runs: pd.DataFrame, level: float) -> dict[str, Any]:
    ended = int(runs["status"].isin(["finished", "failed"]).sum())
    diverged = int(runs["diverged"].sum())
    _, low, high = collapse_rate(diverged, ended, level)
    return {
        "n": int(runs["counted"].sum()),
        "planned": len(runs),
        "missing": len(runs) - ended,
        "failed": int((runs["status"] == "failed").sum()),
        "diverged": diverged,
        "diverged_low": low,
        "diverged_high": high,
    }


def _numbers(runs: pd.DataFrame, name: str) -> pd.Series:
    return pd.to_numeric(runs[name], errors="coerce") if name in runs else pd.Series(math.nan, index=runs.index)
