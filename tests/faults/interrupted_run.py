"""One run, in as many processes as it takes."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from camoe.tracking.run_folder import RunFolder
from tests.faults.endings import Ending, OfTheProcess
from tests.faults.evidence import assert_on_the_way, assert_same_end, complete_lines, leftovers
from tests.faults.jobs import Job
from tests.faults.kill_plan import TIME, Kill, Plan
from tests.faults.reference import Reference

Start = Callable[..., Job]
PAUSE = 0.05  # seconds
KILLED = OfTheProcess()


def interrupt(
    start: Start,
    reference: Reference,
    cwd: Path,
    draw: random.Random,
    plan: Plan,
    wanted: int,
    ending: Ending = KILLED,
) -> Iterator[str]:
    """Run after run in `cwd`, each resumed until it is at its end, and the last one without any more faults.

    Where its processes were ended, so many times.
    """
    left = wanted
    for number in count():
        place = cwd / str(number)
        place.mkdir()
        run = InterruptedRun(start, place, reference, draw, ending)
        while where := run.live(plan(run.folder() is None) if left else None):
            left -= 1
            yield where
        if not left:
            return


@dataclass
class InterruptedRun:
    """Compared with its reference whenever a process of it has ended. `draw` decides which of the two ways to go on."""

    start: Start
    cwd: Path
    reference: Reference
    draw: random.Random
    ending: Ending

    def folder(self) -> Path | None:
        """The run folder, once it can be resumed."""
        return max((path.parent for path in self.cwd.glob("outputs/2*/*/provenance.json")), default=None)

    def live(self, kill: Kill | None) -> str | None:
        """One process. Where it was killed, or None when it came to the end of the run."""
        notes, fault = self.ending.notes or self.cwd, None
        note, output = notes / "note.txt", notes / f"output-{time.monotonic_ns()}.txt"
        note.unlink(missing_ok=True)
        if kill is not None and kill.place != TIME:
            fault = self.ending.fault(kill, note)
        begun = time.time_ns()
        job = self.start(self.cwd, *self._command(), fault=fault, output=output)
        if kill is not None and kill.place == TIME:
            while kill.of_run and not self._taken_up_since(begun) and not job.ended(PAUSE):
                pass
            if not job.ended(kill.seconds):
                self.ending.strike(job)
        code = job.wait()
        if code == -signal.SIGKILL:
            self.ending.afterwards()
        asked = () if kill is None else kill.numbers
        assert code in (0, -signal.SIGKILL, *(128 + number for number in asked)), job.output.read_text()
        folder = self.folder()
        if code == 0:
            assert folder is not None
            assert_same_end(folder, self.reference.folder)
            return None
        if folder is not None:
            assert_on_the_way(folder, self.reference.folder)
            assert RunFolder.open(folder).status().state in ("killed", "finished")  # finished: all but the last words
        return note.read_text() if note.exists() else f"{TIME}: {_seen(folder)}"

    def _taken_up_since(self, moment: int) -> bool:
        """Whether a process has said so in the run folder; `moment` in nanoseconds."""
        said = self.cwd.glob("outputs/2*/*/status.json")
        return any(status.stat().st_mtime_ns >= moment for status in said)

    def _command(self) -> tuple[str, ...]:
        folder = self.folder()
        if folder is None or self.draw.random() < 0.5:
            return self.reference.settings  # the same command again finds the run by itself
        return (f"resume={folder}",)


def _seen(folder: Path | None) -> str:
    """What a kill from outside has left unfinished."""
    if folder is None:
        return "before the run folder"
    if any((folder / "checkpoints").glob(".step_*")):
        return "checkpoint half written"
    for name in ("metrics.jsonl", "ledger.jsonl"):
        if (folder / name).exists() and b"".join(complete_lines(folder / name)) != (folder / name).read_bytes():
            return f"{name} torn"
    return "a file half written" if leftovers(folder) else "between files"
