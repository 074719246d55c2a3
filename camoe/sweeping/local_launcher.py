"""Runs of a sweep as processes of this machine, a bounded number at once, each on a GPU of its own while they last."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from camoe.config.option_catalog import REPOSITORY
from camoe.sweeping.devices import VARIABLE, visible_devices
from camoe.sweeping.job_log import JOBS
from camoe.sweeping.local_executor import OneProcessExecutor
from camoe.sweeping.stop_request import StopRequest
from camoe.sweeping.sweep_report import ArmJob, SweepReport
from camoe.tracking.process_identity import ProcessIdentity

PAUSE = 0.1  # seconds between two looks at the processes


@dataclass(frozen=True)
class _Running:
    job: ArmJob
    job_id: str
    slot: int
    process: subprocess.Popen[bytes]


def launch_locally(folder: Path, jobs: Sequence[ArmJob], n_jobs: int, report: SweepReport) -> signal.Signals | None:
    """Run every job to its end, whatever becomes of the others; the signal that stopped the sweep, if one did.

    On the first SIGINT or SIGTERM nothing more is started, and running jobs are asked to save and end; on the second
    they are killed.
    """
    (folder / JOBS).mkdir(parents=True, exist_ok=True)
    environments = [job_environment(slot, n_jobs, os.environ) for slot in range(n_jobs)]
    waiting, running = list(jobs), list[_Running]()
    with StopRequest() as stop:
        while running or (waiting and not stop.count):
            free = [slot for slot in range(n_jobs) if slot not in {task.slot for task in running}]
            while free and waiting and not stop.count:
                slot = free.pop(0)
                running.append(_start(folder, waiting.pop(0), slot, environments[slot], report))
            if stop.is_new():
                report.stopping(len(running), len(waiting))
                for task in running:
                    task.process.send_signal(signal.SIGINT if stop.count == 1 else signal.SIGKILL)
            time.sleep(PAUSE)
            for task in [task for task in running if task.process.poll() is not None]:
                running.remove(task)
                report.ended(task.job, task.job_id, task.process.returncode)
    return stop.signal


def job_environment(slot: int, n_jobs: int, environment: Mapping[str, str]) -> dict[str, str]:
    """What a job in this slot finds beyond the environment: this code, its GPU, its share of the CPU's cores."""
    path = [str(REPOSITORY), *filter(None, [environment.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(path)}
    if devices := visible_devices(environment):
        own[VARIABLE] = devices[slot % len(devices)]
    if n_jobs > 1 and "OMP_NUM_THREADS" not in environment:
        own["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // n_jobs))
    return own


def _start(folder: Path, job: ArmJob, slot: int, environment: Mapping[str, str], report: SweepReport) -> _Running:
    attempts = len(list((folder / JOBS).glob(f"{job.planned.signature}-*_submitted.pkl")))
    job_id = f"{job.planned.signature}-{attempts + 1}"
    executor = OneProcessExecutor(folder / JOBS, job_id, environment)
    executor.submit(job.task)
    assert executor.process is not None
    report.started(job, job_id, ProcessIdentity.of(executor.process.pid))
    return _Running(job, job_id, slot, executor.process)
