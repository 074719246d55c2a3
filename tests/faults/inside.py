"""Faults that a job carries in its own process, by name, with settings that JSON can hold."""

from __future__ import annotations

import atexit
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from benchmarks.small_disk import SmallDisk
from tests.faults.cut_disk import CutDisk
from tests.faults.line_trace import LineTrace, Visit
from tests.faults.places import FIRST_CALLS


def census(file: str) -> None:
    """No fault: writes {place: [lines of its 1st call, of its 2nd, ...]}, of its first calls, when the process ends."""
    found: defaultdict[str, list[int]] = defaultdict(list)

    def note(visit: Visit) -> None:
        found[visit.place].append(visit.lines)

    LineTrace(lambda _, call: call <= FIRST_CALLS, lambda *_: None, note).install()
    atexit.register(lambda: Path(file).write_text(json.dumps(found)))


def signal_at_line(place: str, call: int, line: int, numbers: list[int], note: str) -> None:
    """Signals to itself before that line of that call, at the latest when it returns; `note`: file for where it was."""

    def send(where: str) -> None:
        Path(note).write_text(where)
        for number in numbers:
            os.kill(os.getpid(), number)

    _at_line(place, call, line, send)


def power_cut_at_line(place: str, call: int, line: int, disk: dict[str, str], note: str) -> None:
    """Before that line of that call a CutDisk loses its power and this process its life; `note`: where it was."""

    def cut(where: str) -> None:
        Path(note).write_text(where)
        CutDisk(Path(disk["image"]), Path(disk["path"])).cut()
        os.kill(os.getpid(), signal.SIGKILL)

    _at_line(place, call, line, cut)


def full_disk_at_line(place: str, call: int, line: int, disk: str) -> None:
    """From there on the SmallDisk mounted at `disk` has no room."""
    _at_line(place, call, line, lambda _: SmallDisk(Path(disk)).fill())


def clock_jump_at_line(place: str, call: int, line: int, seconds: float) -> None:
    """From there on the clock of the wall shows another time."""
    real = time.time

    def jump(_: str) -> None:
        time.time = lambda: real() + seconds

    _at_line(place, call, line, jump)


def _at_line(place: str, call: int, line: int, act: Callable[[str], None]) -> None:
    """Once, before that line of that call, at the latest when it returns; told where that is."""
    done = list[Visit]()

    def once(visit: Visit, frame: FrameType) -> None:
        if not done and visit.lines >= line:
            done.append(visit)
            place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
            act(f"{visit.place}, call {visit.number}, line {visit.lines} ({place})")

    def at_end(visit: Visit) -> None:
        visit.lines = max(visit.lines, line)
        once(visit, visit.frame)

    LineTrace(lambda *visit: visit == (place, call), once, at_end).install()
