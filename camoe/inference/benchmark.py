"""Benchmarks of lm-evaluation-harness on local data, with a standard error for every figure."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from camoe.config import ConfigError
from camoe.config.refusal import not_an_option, refused_as
from camoe.data.tokenizer import Tokenizer
from camoe.inference.benchmark_figures import BenchmarkFigure, DocumentFigures
from camoe.inference.benchmark_tasks import task_configs
from camoe.inference.continuation_scores import ContinuationScorer

# Read when these libraries are imported, so set before that.
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "TRANSFORMERS_OFFLINE")
FEWSHOT_SEED = 1234  # the harness's own


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


@cache
def prepare_harness() -> None:
    """Templates of task files run in Jinja's sandbox, where they reach no attribute that could execute code, and are
    compiled once, not anew for every document; the harness shows no bars of its own.
    """
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from lm_eval import utils
    from lm_eval.api import task

    sandbox: Any = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    sandbox.filters.update(utils.env.filters)
    sandbox.from_string = lru_cache(maxsize=256)(sandbox.from_string)
    utils.env = sandbox
    task.tqdm = lambda items, **_: items


def run_benchmarks(
    scorer: ContinuationScorer,
    tokenizer: Tokenizer,
    names: list[str],
    folder: Path,
    cache_dir: Path,
    *,
    limit: int | None = None,
    group_field: str | None = None,
    progress: Any = None,
) -> list[BenchmarkFigure]:
    """Every metric of every task, on up to `limit` documents evenly over it; by `group_field` where documents have it.

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
    prepare_harness()
    _check_metrics(configs)
    with refused_as("evaluation.tasks: the harness does not take a task file"):
        loaded = TaskManager(include_defaults=False).load(configs)
    for task in loaded["tasks"].values():
        task.set_config(key="num_fewshot", value=task.get_config("num_fewshot") or 0)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
    model = CamoeLM(scorer, tokenizer) if progress is None else CamoeLM(scorer, tokenizer, progress)
    _check(group_field, loaded["tasks"])
    if limit is not None:
        for task in loaded["tasks"].values():
            _keep_some(task, limit)
    with _templates_checked():
        found = evaluate(model, loaded, bootstrap_iters=0, log_samples=True)
    return [figure for name in names for figure in _figures(name, loaded["tasks"][name], found, group_field)]


@contextmanager
def _templates_checked() -> Iterator[None]:
    """ConfigError for a template that is wrong, or that the sandbox refuses."""
    from jinja2.exceptions import TemplateError

    try:
        yield
    except TemplateError as error:
        raise ConfigError(f"evaluation.tasks: a template of a task file cannot be used ({error})") from error


def _check_metrics(configs: list[dict[str, Any]]) -> None:
    """ConfigError for a metric that is not the harness's own; others are programs, which it would fetch and run."""
    from lm_eval.api import metrics  # noqa: F401 - fills the registry
    from lm_eval.api.registry import metric_registry

    for config in configs:
        for entry in config.get("metric_list") or []:
            if entry["metric"] not in metric_registry:
                where = f"evaluation.tasks: {config['task']}.yaml"
                raise not_an_option(where, entry["metric"], metric_registry.keys(), noun="metric")


def _check(group_field: str | None, tasks: dict[str, Any]) -> None:
    """ConfigError for a field that no task's documents have."""
    fields = {name for task in tasks.values() for name in next(iter(task.eval_docs))}
    if group_field is not None and group_field not in fields:
        raise not_an_option("evaluation.group_field", group_field, sorted(fields), noun="field")


def _keep_some(task: Any, limit: int) -> None:
    """Leave up to `limit` documents evenly over all of a task's, since many files are sorted by kind."""
    split = task.config.test_split or task.config.validation_split
    documents = task.dataset[split]
    count = min(limit, len(documents))
    task.dataset[split] = documents.select(np.linspace(0, len(documents) - 1, count).round().astype(int))


def _figures(name: str, task: Any, found: Any, field: str | None) -> Iterator[BenchmarkFigure]:
    """The figures of one task, from its documents."""
    aggregations = task.aggregation()
    for key, value in found["results"][name].items():
        metric, _, kind = key.partition(",")
        if not kind or metric.endswith("_stderr") or not isinstance(value, (int, float)):
            continue
        samples = [one for one in found["samples"][name] if one["filter"] == kind]
        groups = [str(one["doc"][field]) for one in samples] if field and field in samples[0]["doc"] else None
        values = [one[metric] for one in samples]
        yield from DocumentFigures(name, metric, aggregations[metric], values, groups).figures(field or "")
