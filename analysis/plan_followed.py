"""Was the plan followed? What was registered before the runs against what was run and how it was judged."""

from __future__ import annotations

import shlex
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.sweep_file import RegisteredSweep
from camoe.config.analysis import AnalysisConfig

COLUMNS = ["item", "planned", "found", "followed"]
HARMLESS = ("-m", "--multirun", "sweeps=", "hydra/", "hydra.", "tracking", "output_dir=", "retry=", "force=", "sweep=")


def plan_followed(sweep: RegisteredSweep | None, used: AnalysisConfig, runs: pd.DataFrame) -> pd.DataFrame:
    """`Comparison.plan_followed`; one row that says so where nothing was registered."""
    if sweep is None:
        rows = [_row("plan", "none was registered before the runs", "judged after the fact", False)]
    else:
        settings = [_setting(definition.name, sweep.analysis, used) for definition in fields(AnalysisConfig)]
        rows = [*settings, _seeds(used, runs), _runs(runs), _command(sweep), _age(sweep, runs)]
    return pd.DataFrame([*rows, *_code(runs)], columns=COLUMNS)


def _setting(name: str, planned: AnalysisConfig, used: AnalysisConfig) -> dict[str, Any]:
    before, after = getattr(planned, name), getattr(used, name)
    if name == "reference" and before is None:
        return _row(name, "the first arm", after, True)
    return _row(name, before, after, before == after)


def _seeds(used: AnalysisConfig, runs: pd.DataFrame) -> dict[str, Any]:
    counted = runs[runs["counted"]].groupby("arm")["seed_init"].nunique()
    found = counted.reindex(runs["arm"].unique(), fill_value=0)
    few = [f"{arm}: {n}" for arm, n in found.items() if n < used.n_seeds]
    return _row("seeds of every arm", used.n_seeds, ", ".join(few) or f"{found.min()} or more", not few)


def _runs(runs: pd.DataFrame) -> dict[str, Any]:
    states = runs["status"].value_counts()
    found = ", ".join(f"{n} {state}" for state, n in states.items())
    return _row("runs", f"{len(runs)} finished", found, states.get("finished", 0) == len(runs))


def _command(sweep: RegisteredSweep) -> dict[str, Any]:
    _, *arguments = shlex.split(sweep.planned.command) or [""]
    extra = [text for text in arguments if not text.lstrip("+~").startswith(HARMLESS) and not text.endswith("run.py")]
    return _row("command line beside the sweep file", "nothing", " ".join(extra) or "nothing", not extra)


def _age(sweep: RegisteredSweep, runs: pd.DataFrame) -> dict[str, Any]:
    """Whether any run began before its plan was written."""
    began = [_began(folder) for folder in runs["folder"] if folder is not None]
    known = [moment for moment in began if moment is not None]
    try:
        registered = datetime.fromisoformat(sweep.planned.created)
    except ValueError:
        return _row("registered before the runs", "yes", "unknown", False)
    older = sum(moment < registered.replace(microsecond=0) for moment in known)
    found = f"{older} of {len(known)} runs are older" if older else "yes"
    return _row("registered before the runs", "yes", found, not older)


def _began(folder: Path) -> datetime | None:
    """From outputs/<date>/<time>-..., local time."""
    try:
        return datetime.strptime(f"{folder.parent.name} {folder.name[:8]}", "%Y-%m-%d %H-%M-%S")
    except ValueError:
        return None


def _code(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """One version of the code for all; nothing where none is recorded."""
    if "git_commit" not in runs or runs["git_commit"].isna().all():
        return []
    commits = [str(commit)[:10] for commit in runs["git_commit"].dropna().unique()]
    return [_row("version of the code", "one", ", ".join(commits), len(commits) == 1)]


def _row(item: str, planned: object, found: object, followed: object) -> dict[str, Any]:
    return dict(zip(COLUMNS, (item, str(planned), str(found), bool(followed)), strict=True))
