"""A comparison as files, and as artifacts of the sweep's parent run in MLflow."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import Comparison
from analysis.mlflow_runs import existing_store
from camoe.config.tracking import TrackingConfig
from camoe.tracking.mlflow_store import tracking_uri
from camoe.tracking.provenance import without_passwords

RUN_COLUMNS = [
    *("arm", "seed_init", "seed_data", "seed_router_noise", "status", "reason", "value", "counted", "diverged"),
    *("signature", "tokens", "steps", "stream_hash", "flops_per_token", "tokens_per_s", "folder"),
]


def save_comparison(found: Comparison) -> list[Path]:
    """Writes comparison.json (everything) and comparison.csv (the arms) into the comparison's folder."""
    found.folder.mkdir(parents=True, exist_ok=True)
    json_file, csv_file = found.folder / "comparison.json", found.folder / "comparison.csv"
    json_file.write_text(json.dumps(_plain(comparison_values(found)), indent=1, allow_nan=False) + "\n", "utf-8")
    found.arms.to_csv(csv_file)
    return [json_file, csv_file]


def comparison_values(found: Comparison) -> dict[str, Any]:
    """All of a comparison as plain containers; frames as lists of rows."""
    frames = {
        "arms": found.arms.reset_index(),
        "pairs": found.pairs,
        "market": found.market,
        "plan_followed": found.plan_followed,
        "runs": found.runs.reindex(columns=RUN_COLUMNS),
    }
    head = ("name", "metric", "unit", "margin", "better", "reference", "level", "parent_run_id")
    return {
        **{name: getattr(found, name) for name in head},
        "plan": asdict(found.plan),
        "notes": list(found.notes),
        **{name: frame.to_dict("records") for name, frame in frames.items()},
    }


def log_comparison(found: Comparison) -> str:
    """Logs the folder as artifact `comparison` of the sweep's parent run; one line on what came of it, '' without one.

    A store that does not answer spoils no comparison.
    """
    if found.parent_run_id is None:
        return ""
    try:
        client = existing_store(tracking_uri(TrackingConfig(uri=_uri_of(found.runs))))
        client.log_artifacts(found.parent_run_id, str(found.folder), artifact_path="comparison")
    except Exception as error:  # whatever MLflow, SQLAlchemy or the network raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"not logged to MLflow: {without_passwords(reason)[:200]}"
    return f"logged to MLflow as artifact comparison of run {found.parent_run_id}"


def _uri_of(runs: pd.DataFrame) -> str | None:
    """tracking.uri of the runs, which their parent shares."""
    name = "config.tracking.uri"
    known = list(runs[name].dropna()) if name in runs else []
    return known[0] if known else None


def _plain(value: Any) -> Any:
    """As JSON can have it: NaN and infinities are null, paths are text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else _text(value)


def _text(value: Any) -> str | None:
    return None if value is pd.NaT else str(value)
