"""What a job left behind: how its call ended, or the exception that ended it."""

from __future__ import annotations

import pickle
import signal
from io import BytesIO
from pathlib import Path
from typing import Any

from camoe.sweeping.arm_task import ArmEnd
from camoe.sweeping.job_log import JOBS, Job
from camoe.sweeping.slurm_queue import SlurmQueue
from camoe.tracking.shown_path import shown_path

FRAME = '  File "'


def job_end(sweep_folder: Path, job: Job, queue: SlurmQueue) -> ArmEnd | None:
    """How the job ended; None while it goes on, or as long as nobody on this host can know."""
    ends = [_read(path) for path in _results(sweep_folder, job)]
    if ends:
        return next((end for end in ends if end.state == "failed"), ends[0])
    if job.exit_code is not None:
        return _without_result(job.exit_code)
    if job.process is not None:
        return ArmEnd("killed", f"{job.process} vanished") if job.process.is_dead else None
    if job.state is None and not queue.is_over(job.job_id):
        return None
    log = shown_path(sweep_folder / JOBS / f"{job.job_id}_0_log.out")
    return ArmEnd("killed", f"no result, SLURM says {job.state or queue.state(job.job_id)}; log {log}")


def is_waiting(job: Job, queue: SlurmQueue) -> bool:
    """Whether the job has yet to start, for the first time or again."""
    return job.process is None and job.state is None and queue.is_waiting(job.job_id)


def is_going_on(job: Job, queue: SlurmQueue) -> bool:
    """Whether SLURM runs the job, whatever became of its run so far."""
    return job.process is None and job.state is None and queue.is_known(job.job_id)


def _results(sweep_folder: Path, job: Job) -> list[Path]:
    """What submitit wrote, one file for each process of the job that came to an end of its own."""
    return sorted((sweep_folder / JOBS).glob(f"{job.job_id}_*_result.pkl"))


class _Answers(pickle.Unpickler):
    """Reads submitit's answers, which hold texts or an `ArmEnd`; nothing else is imported, so nothing is executed."""

    def find_class(self, module: str, name: str) -> Any:
        """The one class that an answer may hold."""
        if (module, name) != (ArmEnd.__module__, ArmEnd.__qualname__):
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an answer")
        return ArmEnd


def _read(result: Path) -> ArmEnd:
    try:
        kind, value = _Answers(BytesIO(result.read_bytes())).load()
        return value if kind == "success" else ArmEnd("failed", exception_line(value))
    except Exception as error:  # a damaged pickle raises anything
        return ArmEnd("failed", f"{shown_path(result)} is no answer of a job ({type(error).__name__})")


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
