"""Which process a run belongs to, and whether that process is still alive."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, replace

import psutil

CLOCK_TOLERANCE = 2.0  # seconds; the system clock may be set between two looks at a start time


@dataclass(frozen=True)
class ProcessIdentity:
    """A process id means something only together with its host and its start time (seconds since 1970).

    Of a process in a SLURM job also the job, and how often SLURM had started that job before.
    """

    host: str
    pid: int
    started: float
    slurm_job: str | None = None
    slurm_restarts: int = 0

    @classmethod
    def current(cls) -> ProcessIdentity:
        """This process."""
        restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        return replace(cls.of(os.getpid()), slurm_job=own_slurm_job(), slurm_restarts=restarts)

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """A process of this host that is known to be alive, or whose end nobody has waited for."""
        return cls(socket.gethostname(), pid, psutil.Process(pid).create_time())

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, on this host."""
        return self.host == socket.gethostname()

    @property
    def is_dead(self) -> bool:
        """Known to be gone. On another host, where we cannot look, only SLURM's having started its job again tells."""
        if not self.is_here:
            return self._was_started_again()
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < CLOCK_TOLERANCE
            return not same or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def _was_started_again(self) -> bool:
        mine = self.current()
        same = self.slurm_job is not None and self.slurm_job == mine.slurm_job
        return same and self.slurm_restarts < mine.slurm_restarts

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def own_slurm_job() -> str | None:
    """Id of the SLURM job that we run in. SLURM_JOB_ID of an array's last element is the number of the whole array."""
    array, element = (os.environ.get(f"SLURM_ARRAY_{what}_ID") for what in ("JOB", "TASK"))
    return f"{array}_{element}" if array else os.environ.get("SLURM_JOB_ID")
