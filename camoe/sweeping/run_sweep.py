"""A checked multirun from its first job to its table."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from rich.console import Console

from camoe.sweeping.arm_status import ArmStatus, sweep_status
from camoe.sweeping.arm_table import PLAIN_WIDTH, counts, print_table, sweep_console
from camoe.sweeping.arm_task import INTERRUPTED, ArmTask, Task
from camoe.sweeping.earlier_run import earlier_run
from camoe.sweeping.plan import FILE as PLAN
from camoe.sweeping.plan import SweepPlan
from camoe.sweeping.sweep import ArmRun, Sweep
from camoe.sweeping.sweep_report import ArmJob, SweepReport
from camoe.sweeping.text_fingerprint import cached_text
from camoe.tracking import run_lock
from camoe.tracking.run_index import RunIndex
from camoe.tracking.run_status import State
from camoe.tracking.sweep_parent import SweepParent, begin_parent
from camoe.tracking.upload_mark import UploadMark

TABLE = "table.txt"


class Launch(Protocol):
    """Runs jobs to their end, keeping its files below the folder; the signal that stopped it early, if one did."""

    def __call__(self, folder: Path, jobs: Sequence[ArmJob], report: SweepReport) -> signal.Signals | None: ...


def run_sweep(sweep: Sweep, launch: Launch, task: Task) -> None:
    """Start what is missing and show how every run stands at the end.

    Exits with 1 when one failed or was killed, with 128 + signal when a signal stopped the sweep. ConfigError when
    another process is launching the same sweep.
    """
    sweep.folder.mkdir(parents=True, exist_ok=True)
    run_lock.hold(sweep.folder / "lock", "sweep")  # two launchers would start the same runs
    try:
        _run(sweep, launch, task)
    finally:
        run_lock.release(sweep.folder / "lock")


def _run(sweep: Sweep, launch: Launch, task: Task) -> None:
    console = sweep_console()
    for line in dict.fromkeys(line for run in sweep.runs for line in run.command.warnings):
        print(f"warning: {line}", file=sys.stderr)
    parent = _parent(sweep)
    plan = replace(sweep.plan, parent_run_id=None if parent is None else parent.run_id)
    plan.save(sweep.folder)
    stopped: signal.Signals | None = None
    try:
        missing = _missing(sweep, parent, SweepReport(sweep.folder, plan, console, total=0))
        jobs = [ArmJob(run.planned, ArmTask(task, run.config, run.command, plan.parent_run_id)) for run in missing]
        stopped = launch(sweep.folder, jobs, SweepReport(sweep.folder, plan, console, total=len(jobs)))
    finally:
        runs = sweep_status(sweep.folder, plan)
        _show(runs, plan, sweep.folder, console)
        if parent is not None:
            state: State = "killed" if stopped else "failed" if _any_lost(runs, sweep) else "finished"
            parent.finish(state, stopped.name if stopped else counts(runs), [sweep.folder / PLAN, sweep.folder / TABLE])
    if stopped is not None:
        sys.exit(INTERRUPTED + stopped)
    if _any_lost(runs, sweep):
        sys.exit(1)


def _any_lost(runs: Sequence[ArmStatus], sweep: Sweep) -> bool:
    """Whether a run that the command asked for failed or was killed; one in a queue has done neither."""
    wanted = {run.planned.signature for run in sweep.runs}
    return any(run.state in ("failed", "killed") for run in runs if run.planned.signature in wanted)


def _missing(sweep: Sweep, parent: SweepParent | None, report: SweepReport) -> list[ArmRun]:
    """The runs to start: all but those that an earlier run stands for."""
    index = RunIndex(sweep.folder.parents[1])
    missing, finished = [], []
    for run in sweep.runs:
        trains = run.config.job.name == "train"
        earlier = earlier_run(run.config, run.command.issued, cached_text, index) if trains else None
        verdict = "go on" if earlier is None else earlier.verdict(run.config.retry)
        if earlier is not None:
            report.passed_over(run.planned, earlier)
        if earlier is not None and verdict == "skip":
            finished.append(earlier)
        if verdict == "go on":
            missing.append(run)
    marks = [UploadMark.load(earlier.folder.mlflow_file) for earlier in finished]
    if parent is not None:
        parent.adopt([mark.run_id for mark in marks if mark is not None])
    return missing


def _parent(sweep: Sweep) -> SweepParent | None:
    """The sweep's run in MLflow; none where its runs are not recorded there."""
    first = sweep.runs[0].config
    if not first.tracking.mlflow or first.job.name != "train":
        return None
    return begin_parent(first.tracking, sweep.plan.sweep, sweep.folder, sweep.plan.command)


def _show(runs: Sequence[ArmStatus], plan: SweepPlan, folder: Path, console: Console) -> None:
    metric = str(plan.analysis["primary_metric"])
    print_table(console, plan.sweep, metric, runs)
    with (folder / TABLE).open("w", encoding="utf-8") as file:
        print_table(Console(file=file, width=PLAIN_WIDTH), plan.sweep, metric, runs)
