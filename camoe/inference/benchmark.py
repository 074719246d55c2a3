"""Benchmarks of lm-evaluation-harness on local data, with a standard error for every figure."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from camoe.config import ConfigError
from camoe.data.tokenizer import Tokenizer
from camoe.inference.benchmark_tasks import task_configs
from camoe.inference.continuation_scores import ContinuationScorer

# Read when these libraries are imported, so set before that.
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "TRANSFORMERS_OFFLINE")
FEWSHOT_SEED = 1234  # the harness's own


@dataclass(frozen=True)
class BenchmarkFigure:
    """One metric of one task over n documents; `error` is its standard error, NaN where none is known."""

    task: str
    metric: str
    value: float
    error: float
    n: int


def require_lm_eval() -> None:
    """ConfigError when the harness is not installed."""
    if find_spec("lm_eval") is None:
        raise ConfigError(
            "evaluation.tasks: needs lm-evaluation-harness, which is not installed; pip install 'camoe[lm_eval]'"
        )


def go_offline() -> None:
    """Keep the libraries of the hub from asking it for anything. Call before they are imported."""
    os.environ.update(dict.fromkeys(OFFLINE, "1"))
    for name in ("lm_eval", "datasets", "evaluate", "fsspec"):
        logging.getLogger(name).setLevel(logging.ERROR)


def run_benchmarks(
    scorer: ContinuationScorer,
    tokenizer: Tokenizer,
    names: list[str],
    folder: Path,
    cache_dir: Path,
    *,
    limit: int | None = None,
    progress: Any = None,
) -> list[BenchmarkFigure]:
    """Every metric of every task, on its first `limit` documents.

    Task files are below `folder`; what `datasets` makes of their data is kept in `cache_dir`. Asks no network.
    """
    require_lm_eval()
    go_offline()
    configs = task_configs(names, folder, cache_dir)
    from datasets import disable_progress_bars  # after go_offline
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager

    from camoe.inference.lm_eval_adapter import CamoeLM

    disable_progress_bars()
    loaded = TaskManager(include_defaults=False).load(configs)
    for task in loaded["tasks"].values():
        task.set_config(key="num_fewshot", value=task.get_config("num_fewshot") or 0)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
    model = CamoeLM(scorer, tokenizer) if progress is None else CamoeLM(scorer, tokenizer, progress)
    found = evaluate(model, loaded, limit=limit, bootstrap_iters=0, log_samples=True)
    return [figure for name in names for figure in _figures(name, loaded["tasks"][name], found)]


def _figures(name: str, task: Any, found: Any) -> list[BenchmarkFigure]:
    """The figures of one task, with errors from its documents."""
    aggregations = {metric: function.__name__ for metric, function in task.aggregation().items()}
    figures = []
    for key, value in found["results"][name].items():
        metric, _, kind = key.partition(",")
        if not kind or metric.endswith("_stderr") or not isinstance(value, (int, float)):
            continue
        documents = [one[metric] for one in found["samples"][name] if one["filter"] == kind]
        error = standard_error(aggregations.get(metric, ""), float(value), documents)
        figures.append(BenchmarkFigure(name, metric, float(value), error, len(documents)))
    return figures


def standard_error(aggregation: str, value: float, documents: Sequence[Any]) -> float:
    """Of an aggregate over documents drawn at random; NaN for fewer than two, or an aggregation not known here.

    A mean has s / sqrt(n) with s^2 = sum (x - mean)^2 / (n - 1). A perplexity is exp(-mean), whose error is, to first
    order, itself times that of the mean. Per word or byte a mean is a ratio of sums, linearised as in `DocumentScores`.
    """
    values, weights = _weighted(documents) if aggregation in _ERRORS and len(documents) > 1 else (None, None)
    if values is None or weights is None:
        return math.nan
    count, ratio = len(values), values.sum() / weights.sum()
    error = math.sqrt(count / (count - 1) * float(((values - ratio * weights) ** 2).sum())) / float(weights.sum())
    return error * _ERRORS[aggregation](value)


_ERRORS = {
    "mean": lambda _: 1.0,
    "perplexity": lambda value: value,
    "weighted_perplexity": lambda value: value,
    "bits_per_byte": lambda _: 1 / math.log(2),
}


def _weighted(documents: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Values and weights [n] of (value, weight) or of plain values, which weigh 1 each."""
    pairs = np.array([one if isinstance(one, (tuple, list)) else (one, 1) for one in documents], dtype=np.float64)
    return pairs[:, 0], pairs[:, 1]
