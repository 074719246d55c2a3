"""How a run of a sweep stands: read from its folder, and from its job where there is no folder yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from camoe.config import ConfigError
from camoe.sweeping.job_log import Job, JobLog
from camoe.sweeping.job_result import job_end, killed_by
from camoe.sweeping.plan import PlannedArm, SweepPlan
from camoe.sweeping.run_progress import RunProgress, run_progress
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_index import RunIndex
from camoe.tracking.run_status import RunStatus

ArmState = Literal["waiting", "starting", "running", "finished", "failed", "killed"]


@dataclass(frozen=True)
class ArmStatus:
    """One row of the sweep's table. `error` is one line; `progress` is None where no folder is."""

    planned: PlannedArm
    state: ArmState
    folder: Path | None = None
    progress: RunProgress | None = None
    error: str = ""


def sweep_status(folder: Path, plan: SweepPlan) -> list[ArmStatus]:
    """Every run of a sweep, in the order of its plan; the sweep's folder lies in the output folder of its runs."""
    index, jobs = RunIndex(folder.parents[1]), JobLog(folder).newest()
    metric = str(plan.analysis["primary_metric"])
    return [_status(arm, index, jobs.get(arm.signature), folder, metric) for arm in plan.arms]


def arm_status(planned: PlannedArm, folder: Path, plan: SweepPlan) -> ArmStatus:
    """One run of a sweep."""
    return sweep_status(folder, replace(plan, arms=(planned,)))[0]


def _status(arm: PlannedArm, index: RunIndex, job: Job | None, sweep_folder: Path, metric: str) -> ArmStatus:
    """The folder's word, unless a job was started after it was given."""
    found = _folder_of(arm, index)
    if found is None or (job is not None and job.launched > _said_at(found[0])):
        return _by_job(arm, job, sweep_folder)
    run, status = found
    reason = status.reason if status.state in ("failed", "killed") else ""
    if status.state == "killed" and job is not None and (job.exit_code or 0) < 0:
        reason = killed_by(job.exit_code or 0)
    return ArmStatus(arm, status.state, run.path, run_progress(run, metric), " ".join(reason.split("\n")[:1]))


def _by_job(arm: PlannedArm, job: Job | None, sweep_folder: Path) -> ArmStatus:
    if job is None:
        return ArmStatus(arm, "waiting")
    end = job_end(sweep_folder, job)
    if end is None:
        return ArmStatus(arm, "starting")
    return ArmStatus(arm, end.state, error=end.reason)


def _folder_of(arm: PlannedArm, index: RunIndex) -> tuple[RunFolder, RunStatus] | None:
    """The finished run, else the newest one."""
    runs = []
    for path in index.signed(arm.signature):
        try:
            run = RunFolder.open(path)
            runs.append((run, run.status()))
        except ConfigError:  # being made this instant, or cut short
            continue
    return next((run for run in runs if run[1].state == "finished"), next(iter(runs), None))


def _said_at(run: RunFolder) -> float:
    """Seconds since 1970."""
    file = run.path / "status.json"
    return file.stat().st_mtime if file.exists() else 0.0
