"""Starting the processes of a run as torchrun does, without waiting for torchrun itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def torchrun_variables(count: int) -> list[dict[str, str]]:
    """What torchrun tells each of `count` processes."""
    port = str(free_port())
    common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def srun_variables(count: int) -> list[dict[str, str]]:
    """What srun tells each of `count` processes of a job step on one host."""
    common = {"SLURM_JOB_ID": str(free_port()), "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": str(count)}
    return [{**common, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(count)]


def start(
    variables: list[dict[str, str]], arguments: list[str], cwd: Path | None = None
) -> list[subprocess.Popen[str]]:
    """One Python process for each rank."""
    own = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return [
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env={**own, **rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in variables
    ]


def finished(processes: list[subprocess.Popen[str]], timeout: float) -> list[tuple[int, str]]:
    """Exit code and standard error of every process; whoever does not end in time is killed, and that is an error."""
    try:
        return [(process.wait(timeout), process.communicate()[1]) for process in processes]
    finally:
        for process in processes:
            process.kill()
