"""Where metrics go: always metrics.jsonl in the run folder, and MLflow when wanted."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.setting import setting


@dataclass(kw_only=True)
class TrackingConfig:
    """What is recorded beyond metrics.jsonl, and how often."""

    mlflow: bool = setting(True, help="record the run in MLflow")
    uri: str | None = setting(None, help="tracking URI; default MLFLOW_TRACKING_URI, else mlflow.db beside run.py")
    experiment: str = setting("camoe", help="MLflow experiment")
    log_every: int = setting(10, help="optimiser steps between records", low=1)
    probe_tokens: int = setting(
        4096,
        help="held-out tokens, among those of train.eval_sequences, whose winners every evaluation keeps; 0: none",
        low=0,
    )
    every_series: bool = setting(False, help="send per-layer and per-expert series to MLflow too, not only to the file")
    report: bool = setting(True, help="write report.html, the page of the run, when it finishes or fails")
