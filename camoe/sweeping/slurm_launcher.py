"""Runs of a sweep as one SLURM job array, followed until all have ended."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from camoe.config.slurm import SlurmConfig
from camoe.sweeping.slurm_array import submit
from camoe.sweeping.slurm_queue import SlurmQueue
from camoe.sweeping.stop_request import StopRequest
from camoe.sweeping.sweep_report import ArmJob, SweepReport

PAUSE = 0.2  # seconds between two looks for a signal


def launch_on_slurm(
    folder: Path, jobs: Sequence[ArmJob], settings: SlurmConfig, report: SweepReport
) -> signal.Signals | None:
    """Queue every job; with `wait` see them to their ends, or to the first SIGINT or SIGTERM, which leaves them be."""
    if not jobs:
        return None
    submitted = submit(folder, f"camoe-{folder.name}", [job.task for job in jobs], settings)
    by_id = {slurm.job_id: job for slurm, job in zip(submitted, jobs, strict=True)}
    for job_id, job in by_id.items():
        report.started(job, job_id)
    array = submitted[0].job_id.partition("_")[0]
    if not settings.wait:
        report.note(f"SLURM job {array} is queued; {how_to_go_on(folder, array)}")
        return None
    with StopRequest() as stop:
        _follow(array, by_id, settings.poll_s, stop, report)
    if stop.signal is not None:
        report.note(f"SLURM goes on with job {array}; {how_to_go_on(folder, array)}")
    return stop.signal


def how_to_go_on(folder: Path, array: str) -> str:
    """What a person can do about jobs that nobody waits for."""
    return f"look with: python run.py job=status sweep={folder.name}; stop it with: scancel {array}"


def counts(queue: SlurmQueue, ids: Sequence[str]) -> str:
    """In words, as in "1 over, 1 pending, 2 running"."""
    kinds = Counter("over" if queue.is_over(job) else str(queue.state(job)).lower() for job in ids)
    return ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))


def _follow(array: str, jobs: Mapping[str, ArmJob], poll_s: float, stop: StopRequest, report: SweepReport) -> None:
    """Until all are over or a stop is asked for; says how many stand where whenever that changes."""
    going_on, shown = dict(jobs), ""
    while going_on and not stop.count:
        queue = SlurmQueue()
        if queue.state(array) is None:  # SLURM is silent; it will come back
            _sleep(poll_s, stop)
            continue
        line = f"SLURM job {array}: {counts(queue, list(jobs))}"
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
