"""Which process a run belongs to, and whether that process is still alive."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

import psutil

CLOCK_TOLERANCE = 2.0  # seconds; the system clock may be set between two looks at a start time


@dataclass(frozen=True)
class ProcessIdentity:
    """A process id means something only together with its host and its start time (seconds since 1970)."""

    host: str
    pid: int
    started: float

    @classmethod
    def current(cls) -> ProcessIdentity:
        """This process."""
        return cls.of(os.getpid())

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
        """Known to be gone. False on another host, where we cannot look."""
        if not self.is_here:
            return False
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < CLOCK_TOLERANCE
            return not same or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"
