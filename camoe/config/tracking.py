"""Where metrics go: always metrics.jsonl in the run folder, and MLflow when wanted."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.refusal import ConfigError, not_an_option
from camoe.config.setting import setting

SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")  # those that MLflow opens


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

    def __post_init__(self) -> None:
        if self.uri is not None:
            check_uri(self.uri)


def check_uri(uri: str) -> None:
    """ConfigError for the address of a store that MLflow cannot open."""
    scheme, address, _ = uri.partition("://")
    if uri.startswith("file:") or not (address or uri == "databricks"):
        raise ConfigError(
            f"tracking.uri: {uri} is a folder of files, which MLflow no longer writes; "
            "must be sqlite:///PATH.db or the http address of a server"
        )
    if scheme.partition("+")[0] not in SCHEMES:  # postgresql+psycopg2: a driver may be named
        raise not_an_option("tracking.uri", scheme, SCHEMES, noun="scheme")
