"""What a person sees of a sweep while it goes on: a line when a run starts and when it ends; jobs are logged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from camoe.sweeping.arm_status import ArmStatus, arm_status
from camoe.sweeping.arm_table import number
from camoe.sweeping.arm_task import ArmTask
from camoe.sweeping.earlier_run import EarlierRun
from camoe.sweeping.job_log import JobLog
from camoe.sweeping.plan import PlannedArm, SweepPlan
from camoe.tracking.process_identity import ProcessIdentity
from camoe.tracking.shown_path import shown_path


@dataclass(frozen=True)
class ArmJob:
    """One run of a plan, as something to call in another process."""

    planned: PlannedArm
    task: ArmTask


class SweepReport:
    """Launchers tell it what happens to their jobs."""

    def __init__(self, folder: Path, plan: SweepPlan, console: Console, total: int) -> None:
        self._folder, self._plan, self._console, self._log = folder, plan, console, JobLog(folder)
        self._total, self._started = total, 0

    def passed_over(self, planned: PlannedArm, earlier: EarlierRun) -> None:
        """A run that is not started, because of one that was made before."""
        self._say(planned, earlier.line())

    def started(self, job: ArmJob, job_id: str, process: ProcessIdentity | None = None) -> None:
        """A job has begun, or waits in a queue."""
        self._started += 1
        self._log.started(job.planned.signature, job_id, process)
        begun = "queued" if process is None else "started"
        self._say(job.planned, f"{begun}, {self._started} of {self._total}, job {job_id}")

    def ended(self, job: ArmJob, job_id: str, exit_code: int | None = None, state: str | None = None) -> None:
        """A job has ended; what that means for its run is looked up."""
        self._log.ended(job_id, exit_code, state)
        self._say(job.planned, _outcome(arm_status(job.planned, self._folder, self._plan), self._plan))

    def note(self, line: str) -> None:
        """Something about all jobs."""
        self._console.print(line, markup=False, soft_wrap=True)

    def stopping(self, running: int, waiting: int) -> None:
        """A signal came; said at once, for jobs take a while to save themselves."""
        self._console.print(
            f"stopping: {running} runs save themselves and end, {waiting} are not started; once more kills them"
        )

    def _say(self, planned: PlannedArm, what: str) -> None:
        self._console.print(f"{planned.arm}, seed {planned.seed}: {what}", markup=False, soft_wrap=True)


def _outcome(run: ArmStatus, plan: SweepPlan) -> str:
    where = f", {shown_path(run.folder)}" if run.folder else ""
    if run.state == "finished" and run.progress is not None:
        metric = str(plan.analysis["primary_metric"])
        return f"finished, {metric} {number(run.progress.value, '.4f')}{where}"
    return f"{run.state}{': ' if run.error else ''}{run.error}{where}"
