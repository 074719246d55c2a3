"""How a process of a run comes to its end: killed, or with the power of its disk."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Protocol

from tests.faults.cut_disk import CutDisk
from tests.faults.jobs import Fault, Job
from tests.faults.kill_plan import Kill


class Ending(Protocol):
    """notes: folder for what the tests write meanwhile; None: that of the run."""

    notes: Path | None

    def fault(self, kill: Kill, note: Path) -> Fault:
        """What ends the process from inside, where `kill` says."""

    def strike(self, job: Job) -> None:
        """End it from outside, unless it ends by itself meanwhile."""

    def afterwards(self) -> None:
        """Before anybody looks at what it has left."""


class OfTheProcess:
    """Signals."""

    notes = None

    def fault(self, kill: Kill, note: Path) -> Fault:
        return "signal_at_line", {**kill.where, "numbers": kill.numbers, "note": str(note)}

    def strike(self, job: Job) -> None:
        job.send(signal.SIGKILL)

    def afterwards(self) -> None:
        pass


class OfThePower:
    """The disk is cut off, and the process never runs again."""

    def __init__(self, disk: CutDisk, notes: Path) -> None:
        self.notes, self._disk = notes, disk

    def fault(self, kill: Kill, note: Path) -> Fault:
        disk = {"image": str(self._disk.image), "path": str(self._disk.path)}
        return "power_cut_at_line", {**kill.where, "disk": disk, "note": str(note)}

    def strike(self, job: Job) -> None:
        if job.stopped():  # it must not see what the disk says afterwards
            self._disk.cut()
            job.send(signal.SIGKILL)

    def afterwards(self) -> None:
        self._disk.start_again()
