"""What records a run that soaked should have, and has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.soaked_run import EVAL_EVERY, LOG_EVERY
from camoe.tracking.metrics_log import read_metrics
from camoe.tracking.mlflow_store import open_experiment
from camoe.tracking.upload_mark import UploadMark

EVERY = {"loss/total": LOG_EVERY, "valid/loss": EVAL_EVERY}
"""Metrics that stand for their records, and after how many steps each is due."""


def wrong_steps(folder: Path, uri: str) -> dict[str, list[int]]:
    """By metric: steps that metrics.jsonl lacks or has twice, and those that MLflow lacks. None must be there."""
    records = read_metrics(folder / "metrics.jsonl")
    found = {}
    for name, interval in EVERY.items():
        here = [record["step"] for record in records if name in record]
        found[f"{name} in metrics.jsonl"] = differing(here, interval)
        found[f"{name} in MLflow"] = sorted(set(here) ^ set(steps_in_mlflow(folder, uri, name)))
    return found


def differing(steps: list[int], interval: int) -> list[int]:
    """Multiples of the interval up to the last step that are not there exactly once, and steps that are not due."""
    due, count = set(range(interval, max(steps, default=0) + 1, interval)), Counter(steps)
    return sorted(step for step in due | set(count) if count[step] != (step in due))


def steps_in_mlflow(folder: Path, uri: str, name: str) -> list[int]:
    """Of all values of a metric that the run has there, in their order."""
    mark: Any = UploadMark.load(folder / "mlflow.json")
    client, _ = open_experiment(uri, "camoe")
    return [metric.step for metric in client.get_metric_history(mark.run_id, name)]
