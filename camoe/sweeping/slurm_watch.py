"""Waiting for jobs in SLURM's queue, and how each of them ended."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from camoe.sweeping.arm_task import ArmEnd
from camoe.sweeping.slurm_queue import is_over, states

if TYPE_CHECKING:
    from submitit import Job

RESULT_SECONDS = 20.0  # that a result file may need to be seen here when another host has written it


def wait(jobs: Sequence[Job[ArmEnd]], poll_s: float, say: Callable[[str], None]) -> list[ArmEnd]:
    """How every job ended, once all have. Says how many stand where whenever that changes."""
    number = array_id(jobs)
    last: dict[str, str] = {}
    shown = ""
    while True:
        found = states(number)
        if found is not None:
            last |= found
            line = f"SLURM job {number}: {counts([found.get(job.job_id) for job in jobs])}"
            if line != shown:
                say(line)
                shown = line
            if all(is_over(found.get(job.job_id)) for job in jobs):
                return [end_of(job, last.get(job.job_id)) for job in jobs]
        time.sleep(poll_s)


def array_id(jobs: Sequence[Job[ArmEnd]]) -> str:
    """The number that sbatch gave all of them."""
    return jobs[0].job_id.partition("_")[0]


def counts(found: Sequence[str | None]) -> str:
    """In words, as in "2 running, 1 pending, 1 over"."""
    kinds = Counter("over" if is_over(state) else str(state).lower() for state in found)
    return ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))


def end_of(job: Job[ArmEnd], state: str | None) -> ArmEnd:
    """What the job left behind; one without a result was killed, whatever it was that killed it."""
    results = [job.task(rank).paths.result_pickle for rank in range(job.num_tasks)]
    if state == "COMPLETED":
        _wait_for(results)
    ends = [_read(path) for path in results if path.exists()]
    failed = [end for end in ends if end.state == "failed"]
    if failed:
        return failed[0]
    if len(ends) == len(results):
        return ends[0]
    log = job.task(0).paths.stdout
    return ArmEnd("killed", f"SLURM job {job.job_id} ended without a result ({state or 'forgotten'}); log {log}")


def _read(result: Path) -> ArmEnd:
    """What submitit wrote: the end that the task returned, or the traceback of what it raised."""
    outcome, value = pickle.loads(result.read_bytes())
    return value if outcome == "success" else ArmEnd("failed", raised(value))


def raised(traceback: str) -> str:
    """The first line of the error itself, below the frames."""
    lines = traceback.strip().splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith("  ")]
    below = lines[frames[-1] + 1 :] if frames else lines
    return below[0] if below else lines[-1]


def _wait_for(paths: Sequence[Path]) -> None:
    deadline = time.monotonic() + RESULT_SECONDS
    while not all(path.exists() for path in paths) and time.monotonic() < deadline:
        list(paths[0].parent.iterdir())  # a network file system looks again
        time.sleep(0.2)
