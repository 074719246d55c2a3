"""Runs of a sweep as one SLURM job array, followed until all have ended."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from camoe.config.slurm import SlurmConfig
from camoe.sweeping.job_log import JobLog
from camoe.sweeping.slurm_array import submit
from camoe.sweeping.slurm_queue import SlurmQueue
from camoe.sweeping.stop_request import StopRequest
from camoe.sweeping.sweep_report import ArmJob, SweepReport

PAUSE = 0.2  # seconds between two looks for a signal


def launch_on_slurm(
    folder: Path, jobs: Sequence[ArmJob], settings: SlurmConfig, report: SweepReport
) -> signal.Signals | None:
    """Queue every job; with `wait` see them to their ends, or to the first SIGINT or SIGTERM, which leaves them be.

    Jobs that an earlier command has queued are not queued again.
    """
    by_id = queued_already(folder, jobs)
    for job_id, job in by_id.items():
        report.note(f"{job.planned.arm}, seed {job.planned.seed}: queued already, job {job_id}")
    new = [job for job in jobs if job not in by_id.values()]
    submitted = submit(folder, f"camoe-{folder.name}", [job.task for job in new], settings) if new else []
    for slurm, job in zip(submitted, new, strict=True):
        by_id[slurm.job_id] = job
        report.started(job, slurm.job_id)
    arrays = sorted({job_id.partition("_")[0] for job_id in by_id})
    if not arrays:
        return None
    if not settings.wait:
        report.note(f"SLURM has job {', '.join(arrays)}; {how_to_go_on(folder, arrays)}")
        return None
    with StopRequest() as stop:
        _follow(arrays, by_id, settings.poll_s, stop, report)
    if stop.signal is not None:
        report.note(f"SLURM goes on with job {', '.join(arrays)}; {how_to_go_on(folder, arrays)}")
    return stop.signal


def queued_already(folder: Path, jobs: Sequence[ArmJob]) -> dict[str, ArmJob]:
    """Jobs, by SLURM's id, that an earlier command has queued and that SLURM has not ended."""
    known, queue = JobLog(folder).newest(), SlurmQueue()
    logged = ((known.get(job.planned.signature), job) for job in jobs)
    return {old.job_id: job for old, job in logged if old and old.process is None and queue.is_known(old.job_id)}


def how_to_go_on(folder: Path, arrays: Sequence[str]) -> str:
    """What a person can do about jobs that nobody waits for."""
    return f"look with: python run.py job=status sweep={folder.name}; stop it with: scancel {' '.join(arrays)}"


def counts(queue: SlurmQueue, ids: Sequence[str]) -> str:
    """In words, as in "1 over, 1 pending, 2 running"."""
    kinds = Counter("over" if queue.is_over(job) else str(queue.state(job)).lower() for job in ids)
    return ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))


def _follow(
    arrays: Sequence[str], jobs: Mapping[str, ArmJob], poll_s: float, stop: StopRequest, report: SweepReport
) -> None:
    """Until all are over or a stop is asked for; says how many stand where whenever that changes."""
    going_on, shown = dict(jobs), ""
    while going_on and not stop.count:
        queue = SlurmQueue()
        if any(queue.state(array) is None for array in arrays):  # SLURM is silent; it will come back
            _sleep(poll_s, stop)
            continue
        line = f"SLURM job {', '.join(arrays)}: {counts(queue, list(jobs))}"
        if line != shown:
            report.note(line)
            shown = line
        for job_id in [job_id for job_id in going_on if queue.is_over(job_id)]:
            report.ended(going_on.pop(job_id), job_id, state=queue.state(job_id))
        if going_on:
            _sleep(poll_s, stop)


def _sleep(seconds: float, stop: StopRequest) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stop.count:
        time.sleep(PAUSE)
