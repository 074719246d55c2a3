"""A checked multirun from its first job to its table."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from camoe.sweeping.arm_status import sweep_status
from camoe.sweeping.arm_table import print_table, sweep_console
from camoe.sweeping.arm_task import INTERRUPTED, ArmTask, Task
from camoe.sweeping.earlier_run import earlier_run
from camoe.sweeping.sweep import Sweep
from camoe.sweeping.sweep_report import ArmJob, SweepReport
from camoe.sweeping.text_fingerprint import cached_text
from camoe.tracking.run_index import RunIndex


class Launch(Protocol):
    """Runs jobs to their end, keeping its files below the folder; the signal that stopped it early, if one did."""

    def __call__(self, folder: Path, jobs: Sequence[ArmJob], report: SweepReport) -> signal.Signals | None: ...


def run_sweep(sweep: Sweep, launch: Launch, task: Task) -> None:
    """Start what is missing and show how every run stands at the end.

    Exits with 1 unless all are finished, with 128 + signal when one stopped the sweep.
    """
    console = sweep_console()
    for line in dict.fromkeys(line for run in sweep.runs for line in run.command.warnings):
        print(f"warning: {line}", file=sys.stderr)
    sweep.plan.save(sweep.folder)
    jobs = _missing(sweep, task, SweepReport(sweep.folder, sweep.plan, console, total=0))
    stopped = launch(sweep.folder, jobs, SweepReport(sweep.folder, sweep.plan, console, total=len(jobs)))
    runs = sweep_status(sweep.folder, sweep.plan)
    print_table(console, sweep.plan.sweep, str(sweep.plan.analysis["primary_metric"]), runs)
    if stopped is not None:
        sys.exit(INTERRUPTED + stopped)
    if any(run.state != "finished" for run in runs):
        sys.exit(1)


def _missing(sweep: Sweep, task: Task, report: SweepReport) -> list[ArmJob]:
    """The runs to start: all but those that an earlier run stands for."""
    index = RunIndex(sweep.folder.parents[1])
    jobs = []
    for run in sweep.runs:
        trains = run.config.job.name == "train"
        earlier = earlier_run(run.config, run.command.issued, cached_text, index) if trains else None
        if earlier is not None:
            report.passed_over(run.planned, earlier)
        if earlier is None or earlier.verdict(run.config.retry) == "go on":
            jobs.append(ArmJob(run.planned, ArmTask(task, run.config, run.command, sweep.plan.parent_run_id)))
    return jobs
