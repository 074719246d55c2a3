"""Runs as one pandas frame, from their folders alone: `analysis.load_runs`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analysis.arm_labels import labels
from analysis.mlflow_runs import folders_of_experiment
from analysis.run_records import outcome
from analysis.sweep_file import RegisteredSweep, read_sweep
from camoe.config import ConfigError
from camoe.config.analysis import AnalysisConfig
from camoe.sweeping.plan import PlannedArm
from camoe.tracking.run_folder import REQUIRED, RunFolder
from camoe.tracking.run_index import RunIndex

FACTS = ("signature", "data", "device", "host", "git_commit")  # of provenance.json
SEEDS = ("init", "data", "router_noise")
MISSING = "missing"  # status of an arm's run that has no folder


def load_runs(
    sweep: str | None = None,
    folders: Iterable[str | Path] | None = None,
    experiment: str | None = None,
    output_dir: str | Path = "outputs",
    last_evaluations: int = AnalysisConfig.last_evaluations,
) -> pd.DataFrame:
    """One row per run: of a sweep, of folders (run folders, or folders that hold some), of an MLflow experiment, or,
    when none of them is given, of every run below `output_dir`.

    Columns:
    - folder (Path, None for a run that a sweep planned and nobody started), name, sweep, arm (its label in the sweep;
      else what its command line changed that not all of these runs changed, without seeds), seed_init, seed_data,
      seed_router_noise;
    - status (finished, running, failed, killed; missing: planned only; unreadable) and reason;
    - signature, data (hash of text and tokens), initial_weights.GROUP (hash of a parameter group), device, host,
      git_commit;
    - steps, tokens, train_flops (as recorded; NaN where not), flops_per_token (measured forward FLOPs of the final
      evaluation), tokens_per_s (median), stream_hash (of the training sequences read);
    - every scalar metric: `final/...` as it is, all others as the mean of the last `last_evaluations` records;
    - config.GROUP.SETTING for every setting.

    Needs no MLflow but for `experiment`. ConfigError, with the nearest match, for what does not exist.
    """
    if sum(given is not None for given in (sweep, folders, experiment)) > 1:
        raise ConfigError("load_runs: sweep, folders and experiment exclude each other; give one")
    if sweep is not None:
        return runs_of_sweep(read_sweep(sweep, output_dir), output_dir, last_evaluations)
    if experiment is not None:
        found = folders_of_experiment(experiment, Path(output_dir))
        return _labelled([_row(folder, last_evaluations) | dict(known) for folder, known in found])
    paths = [folder for path in folders for folder in run_folders(path)] if folders is not None else _all(output_dir)
    return _labelled([_row(path, last_evaluations) for path in dict.fromkeys(paths)])


def runs_of_sweep(sweep: RegisteredSweep, output_dir: str | Path, last_evaluations: int) -> pd.DataFrame:
    """The rows of `load_runs` for a sweep, in its order; a run is found by its signature, wherever it was made."""
    index = RunIndex(output_dir)
    name = sweep.planned.sweep
    rows = [_planned_row(run, name, index.signed(run.signature), last_evaluations) for run in sweep.planned.arms]
    return _frame(rows)


def run_folders(path: str | Path) -> list[Path]:
    """The run folder itself, or those below it, oldest first; ConfigError when there is none."""
    path = Path(path)
    if not path.is_dir():
        raise ConfigError(f"{path}: no such folder")
    below = (
        [path]
        if _is_run(path)
        else [file.parent for depth in ("*", "*/*") for file in path.glob(f"{depth}/{REQUIRED[0]}")]
    )
    found = sorted(folder.resolve() for folder in below if _is_run(folder))
    if not found:
        raise ConfigError(f"{path}: neither a run folder nor a folder of run folders")
    return found


def _all(output_dir: str | Path) -> list[Path]:
    return sorted(
        file.parent.resolve() for file in Path(output_dir).glob(f"2*/*/{REQUIRED[0]}") if _is_run(file.parent)
    )


def _is_run(path: Path) -> bool:
    return all((path / name).is_file() for name in REQUIRED)


def _planned_row(planned: PlannedArm, sweep: str, newest_first: Sequence[Path], last: int) -> dict[str, Any]:
    """The finished run of this signature, else the newest, else a row that says missing."""
    known = {"sweep": sweep, "arm": planned.arm, "signature": planned.signature}
    runs = [path for path in newest_first if _is_run(path)]
    finished = (path for path in runs if _status(RunFolder(path))["status"] == "finished")
    path = next(finished, next(iter(runs), None))
    if path is None:
        return {"folder": None, "status": MISSING, "reason": "never started", **_seeds(planned.seed), **known}
    return _row(path, last) | known


def _row(path: Path, last: int) -> dict[str, Any]:
    folder = RunFolder(path)
    row: dict[str, Any] = {"folder": path}
    try:
        config, facts = _config(folder), folder.provenance()
        row |= _identity(config, facts) | _status(folder)
        metrics = outcome(path, last)
    except ConfigError as error:
        return row | {"status": "unreadable", "reason": str(error)}
    return row | _budgets(metrics) | metrics | {f"config.{name}": value for name, value in _flat(config)}


def _identity(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    weights = facts.get("initial_weights_by_group") or {}
    return {
        "name": config.get("name"),
        "sweep": facts.get("sweep") or config.get("sweep"),
        "arm": facts.get("arm") or config.get("arm"),
        **{f"seed_{name}": (config.get("seeds") or {}).get(name) for name in SEEDS},
        **{name: facts[name] for name in FACTS if name in facts},
        **{f"initial_weights.{group}": value for group, value in weights.items()},
    }


def _seeds(written: int | str) -> dict[str, int]:
    """From a plan: one number for all three, or init/data/router_noise."""
    parts = [int(part) for part in str(written).split("/")]
    return {f"seed_{name}": part for name, part in zip(SEEDS, parts * (len(SEEDS) // len(parts)), strict=True)}


def _status(folder: RunFolder) -> dict[str, str]:
    try:
        status = folder.status()
    except ConfigError as error:
        return {"status": "unreadable", "reason": str(error)}
    return {"status": status.state, "reason": status.reason}


def _budgets(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that have a plain name, from the metrics they are recorded as."""
    return {
        "tokens": metrics.get("progress/tokens_seen"),
        "train_flops": metrics.get("progress/train_flops"),
        "flops_per_token": metrics.get("final/flops_per_token"),
        "tokens_per_s": metrics["time/tokens_per_s"],
        "stream_hash": metrics.get("progress/stream_hash"),
    }


def _config(folder: RunFolder) -> dict[str, Any]:
    """As `RunFolder.config`, by the fast reader: a saved configuration is resolved and plain."""
    try:
        content = yaml.load(folder.config_file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        content = None
    return content if isinstance(content, dict) else folder.config()


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _labelled(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """With a label for every run that carries none from its sweep."""
    for row, label in zip(rows, labels([row["folder"] for row in rows]), strict=True):
        row["arm"] = row.get("arm") or label
    return _frame(rows)


LEADING = (
    *("folder", "name", "sweep", "arm", *(f"seed_{name}" for name in SEEDS), "status", "reason", "signature"),
    *("steps", "tokens", "train_flops", "flops_per_token", "tokens_per_s", "stream_hash", "data"),
)


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Leading columns always there, in their order; metrics, then settings, as they come."""
    frame = pd.DataFrame(rows)
    others = [name for name in frame.columns if name not in LEADING]
    others.sort(key=lambda name: name.startswith("config."))
    return frame.reindex(columns=[*LEADING, *others])
