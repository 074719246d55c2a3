"""report.html: everything that a run's folder says about it, on one page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from analysis.page import number, write_page
from analysis.run_headline import correctness, headline, scale
from analysis.run_history import RunHistory
from analysis.run_outline import RunOutline, read_outline
from analysis.run_pictures import market_pictures, routing_pictures, training_pictures
from camoe.tracking.run_folder import RunFolder

FILE = "report.html"
SHORT = 12  # characters of a hash
OPENING = ("model", "experts", "parameters", "text", "tokenizer", "schedule")  # of the lines a run opens with
RESIDUAL = 2.0**-22  # of a layer's money: float32 accounts of books that close leave a quarter of it


@dataclass(frozen=True)
class LastValue:
    """A recorded scalar and where it was last seen."""

    name: str
    value: float
    step: int


def write_run_report(folder: RunFolder) -> Path:
    """Writes the page into the run's folder, whatever state the run is in."""
    run, history = read_outline(folder), RunHistory.read(folder.metrics_file)
    return write_page(
        folder.path / FILE,
        "run_report.html",
        linked=True,
        run=run,
        headline=headline(run, history),
        scale=scale(history),
        facts=facts(run, history),
        hashes=_hashes(run.provenance),
        packages=_mapping(run.provenance, "packages"),
        settings=yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True),
        training=training_pictures(history),
        routing=routing_pictures(run, history),
        market=market_pictures(run, history),
        correctness=correctness(history),
        values=last_values(history),
        warnings=warnings(run, history),
        stride=history.stride,
    )


def facts(run: RunOutline, history: RunHistory) -> dict[str, str]:
    """What was run, where and from what, a line each; what is not known is left out."""
    told, config = run.provenance, run.config
    seeds = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in _mapping(config, "seeds").items())
    known = {
        "sweep": _text(told.get("sweep") or config.get("sweep")),
        "arm": _text(told.get("arm") or config.get("arm")),
        "seeds": seeds,
        **{name: run.choices.get(name, "") for name in OPENING},
        "code": _code(told),
        "device": run.choices.get("device", _text(told.get("device"))),
        "kernels": ", ".join(_text(told.get(name)) for name in ("wkv_backend", "dispatch") if told.get(name)),
        "precision": run.choices.get("precision", ""),
        "host": _text(told.get("host")),
        "SLURM job": _text(_mapping(told, "slurm").get("SLURM_JOB_ID")),
        "Python": _text(told.get("python")),
        "data read": _text(history.last("progress/stream_hash")),
        "signature": _text(told.get("signature")),
    }
    return {name: value for name, value in known.items() if value}


def _code(told: Mapping[str, Any]) -> str:
    """Commit and branch; empty outside a checkout."""
    if not told.get("git_commit"):
        return ""
    changed = ", with uncommitted changes" if told.get("git_dirty") else ""
    return f"{str(told['git_commit'])[:SHORT]} on {told.get('git_branch')}{changed}"


def last_values(history: RunHistory) -> list[LastValue]:
    """Every scalar of the last window, evaluation and final record, the newest of each name, by name."""
    newest: dict[str, LastValue] = {}
    for record in (*history.windows[-1:], *history.evaluations[-1:], history.final):
        for name, value in record.items():
            if isinstance(value, (int, float)) and name != "step":
                newest[name] = LastValue(name, value, record["step"])
    return [newest[name] for name in sorted(newest)]


def warnings(run: RunOutline, history: RunHistory) -> list[str]:
    """What a reader should know before believing the figures."""
    found = list(run.warnings)
    skipped, residual = history.last("progress/skipped_steps"), history.last("market/ledger_residual/worst")
    dead = history.last("final/dead_experts")
    if run.status.state != "finished":
        reason = f": {run.status.reason}" if run.status.reason else ""
        found.insert(0, f"this run is not finished, it is {run.status.state}{reason}")
    if run.provenance.get("git_dirty"):
        found.append("the checkout differed from its commit; uncommitted.diff holds how")
    if skipped:
        found.append(f"{skipped:.0f} steps were skipped for a loss that was not finite")
    if dead:
        found.append(f"{number(dead)} dead experts per layer on the held-out text")
    if residual is not None and residual > RESIDUAL:
        found.append(f"the market's books do not close: a residual of {residual:.1e} of all capital")
    if run.status.mlflow_missing:
        found.append(f"MLflow lacks {run.status.mlflow_missing} records; metrics.jsonl has them all")
    return found


def _hashes(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Of the text and tokens, and of the initial weights by parameter group."""
    weights = provenance.get("initial_weights_by_group") or provenance.get("initial_weights")
    groups = weights if isinstance(weights, Mapping) else {}
    named = {"text and tokens": provenance.get("data"), **{f"initial {name}": value for name, value in groups.items()}}
    return {name.replace("_", " "): str(value) for name, value in named.items() if value}


def _mapping(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = holder.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return "" if value is None else str(value)
