"""documents.parquet: the final evaluation document by document, as differences between paired runs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.statistics.hierarchical_bootstrap import DocumentDifferences
from camoe.tracking.run_folder import RunFolder

WEIGHT = {"final/bpb": ("bytes", math.log(2)), "final/loss": ("tokens", 1.0)}  # size, and nats in a unit of the metric


def document_differences(pairs: pd.DataFrame, metric: str) -> DocumentDifferences | None:
    """Of every pair, in the metric's unit; None for another metric, or where a run lacks the file or scored others."""
    if metric not in WEIGHT or pairs.empty:
        return None
    size, nats = WEIGHT[metric]
    scores = {folder: _read(Path(folder)) for folder in (*pairs["folder"], *pairs["reference_folder"])}
    first = next(iter(scores.values()))
    if any(s is None or first is None or not _same_documents(s, first) for s in scores.values()):
        return None
    assert first is not None
    rows = [
        (scores[ours]["nats"] - scores[theirs]["nats"]).to_numpy() / nats  # type: ignore[index]
        for ours, theirs in zip(pairs["folder"], pairs["reference_folder"], strict=True)
    ]
    return DocumentDifferences(np.array(rows), first[size].to_numpy(dtype=float))


def _read(folder: Path) -> pd.DataFrame | None:
    file = RunFolder(folder).documents_file
    return pd.read_parquet(file, columns=["document", "tokens", "bytes", "nats"]) if file.is_file() else None


def _same_documents(scores: pd.DataFrame, others: pd.DataFrame) -> bool:
    same = ["document", "tokens", "bytes"]
    return len(scores) > 1 and scores[same].equals(others[same])
