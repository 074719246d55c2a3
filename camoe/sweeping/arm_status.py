"""How a run of a sweep stands: read from its folder, and from its job where there is no folder yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from camoe.config import ConfigError
from camoe.sweeping.job_log import Job, JobLog
from camoe.sweeping.job_result import is_going_on, is_waiting, job_end
from camoe.sweeping.plan import PlannedArm, SweepPlan
from camoe.sweeping.run_progress import RunProgress, run_progress
from camoe.sweeping.slurm_queue import SlurmQueue
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
    metric, queue = str(plan.analysis["primary_metric"]), SlurmQueue()
    return [_status(arm, index, jobs.get(arm.signature), folder, metric, queue) for arm in plan.arms]


def arm_status(planned: PlannedArm, folder: Path, plan: SweepPlan) -> ArmStatus:
    """One run of a sweep."""
    return sweep_status(folder, replace(plan, arms=(planned,)))[0]


def _status(
    arm: PlannedArm, index: RunIndex, job: Job | None, sweep_folder: Path, metric: str, queue: SlurmQueue
) -> ArmStatus:
    """The folder's word, unless a job was started after it was given or knows better how it ended.

    A folder that the job made comes before one that was finished already, when the command was given with force.
    """
    launched = None if job is None else datetime.fromtimestamp(job.launched)
    found = _folder_of(arm, index, launched) or _folder_of(arm, index)
    if found is None or (job is not None and job.launched > _said_at(found[0])):
        return _by_job(arm, job, sweep_folder, queue)
    run, status = found
    state: ArmState = status.state
    reason = status.reason if state in ("failed", "killed") else ""
    alive = state == "running" and status.process.is_here  # it holds the folder's lock
    if state in ("running", "killed") and job is not None and not alive:
        end = job_end(sweep_folder, job, queue)
        if end is not None and end.state == "killed":
            state, reason = "killed", end.reason
        elif end is None and is_waiting(job, queue):
            state, reason = "waiting", ""
        elif end is None and state == "killed" and is_going_on(job, queue):
            state, reason = "starting", ""  # again, or about to go back to the queue
    return ArmStatus(arm, state, run.path, run_progress(run, metric), " ".join(reason.split("\n")[:1]))


def _by_job(arm: PlannedArm, job: Job | None, sweep_folder: Path, queue: SlurmQueue) -> ArmStatus:
    if job is None:
        return ArmStatus(arm, "waiting")
    end = job_end(sweep_folder, job, queue)
    if end is not None:
        return ArmStatus(arm, end.state, error=end.reason)
    return ArmStatus(arm, "waiting" if is_waiting(job, queue) else "starting")


def _folder_of(arm: PlannedArm, index: RunIndex, since: datetime | None = None) -> tuple[RunFolder, RunStatus] | None:
    """The finished run, else the newest one, of those made at or after `since`."""
    runs = []
    for path in index.signed(arm.signature, since):
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
