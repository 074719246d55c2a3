"""What a job left behind: how its call ended, or the exception that ended it."""

from __future__ import annotations

import pickle
import signal
from pathlib import Path

from camoe.sweeping.arm_task import ArmEnd
from camoe.sweeping.job_log import JOBS, Job

FRAME = '  File "'


def job_end(sweep_folder: Path, job: Job) -> ArmEnd | None:
    """How the job ended; None while it goes on, or as long as nobody on this host can know."""
    from submitit.core.utils import JobPaths

    result = JobPaths(sweep_folder / JOBS, job.job_id, task_id=0).result_pickle
    if result.exists():
        with result.open("rb") as file:
            kind, value = pickle.load(file)
        return value if kind == "success" else ArmEnd("failed", exception_line(value))
    if job.exit_code is not None:
        return _without_result(job.exit_code)
    if job.process is not None and job.process.is_dead:
        return ArmEnd("killed", f"{job.process} vanished")
    return None


def exception_line(trace: str) -> str:
    """The exception itself: the line after the last frame of a printed traceback."""
    lines = trace.strip().splitlines() or [""]
    frames = [number for number, line in enumerate(lines) if line.startswith(FRAME)]
    after = frames[-1] + 1 if frames else 0
    return next((line for line in lines[after:] if not line.startswith("    ")), lines[-1])


def killed_by(exit_code: int) -> str:
    """The signal of a negative exit code, with what sends it unasked."""
    name = signal.Signals(-exit_code).name
    return f"killed by {name}" + (" (out of memory, or kill -9)" if name == "SIGKILL" else "")


def _without_result(exit_code: int) -> ArmEnd:
    if exit_code < 0:
        return ArmEnd("killed", killed_by(exit_code))
    return ArmEnd("failed", f"its process ended with exit code {exit_code} and left no result")
