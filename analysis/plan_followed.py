"""Was the plan followed? What was registered before the runs against what was run and how it was judged."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
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
        planned = replace(sweep.analysis, reference=sweep.analysis.reference or sweep.arms[0])
        settings = [_setting(definition.name, planned, used) for definition in fields(AnalysisConfig)]
        rows = [*settings, _seeds(used, runs), _runs(runs), _command(sweep), _before(sweep, runs)]
    return pd.DataFrame([*rows, *_code(runs)], columns=COLUMNS)


def _setting(name: str, planned: AnalysisConfig, used: AnalysisConfig) -> dict[str, Any]:
    before, after = getattr(planned, name), getattr(used, name)
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
    item, arguments = "command line beside the sweep file", shlex.split(sweep.planned.command)[1:]
    if not any(text.lstrip("+").startswith("sweeps=") for text in arguments):
        return _row(item, "nothing", "there is no sweep file: the command line is the study", True)
    extra = [text for text in arguments if not text.lstrip("+~").startswith(HARMLESS) and not text.endswith("run.py")]
    return _row(item, "nothing", " ".join(extra) or "nothing", not extra)


def _before(sweep: RegisteredSweep, runs: pd.DataFrame) -> dict[str, Any]:
    """Whether every run began under this plan: its own folder keeps the one that it was started with."""
    started = runs[runs["folder"].notna()].to_dict("records")
    others = sum(_own_plan(run) != asdict(sweep.analysis) for run in started)
    found = f"{others} of {len(started)} runs began under another plan" if others else "yes"
    return _row("registered before the runs", "yes", found, not others)


def _own_plan(run: Mapping[Any, Any]) -> dict[str, Any]:
    names = [definition.name for definition in fields(AnalysisConfig)]
    own = {name: run.get(f"config.analysis.{name}") for name in names}
    return {name: None if value != value else value for name, value in own.items()}  # pandas has NaN for None


def _code(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """One version of the code for all; nothing where none is recorded."""
    if "git_commit" not in runs or runs["git_commit"].isna().all():
        return []
    commits = [str(commit)[:10] for commit in runs["git_commit"].dropna().unique()]
    return [_row("version of the code", "one", ", ".join(commits), len(commits) == 1)]


def _row(item: str, planned: object, found: object, followed: object) -> dict[str, Any]:
    return dict(zip(COLUMNS, (item, str(planned), str(found), bool(followed)), strict=True))
