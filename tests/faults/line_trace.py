"""Follows the lines of Python that run inside the calls of PLACES, and everything below them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from tests.faults.places import OF_CALL
from tests.jobs.command import ROOT

PRODUCT = str(ROOT / "camoe")


@dataclass
class Visit:
    """One call of a place: the how-manieth of this process, and how many lines have run in it."""

    place: str
    number: int
    frame: FrameType
    lines: int = 0


class LineTrace:
    """Tells `at_line` of every line inside a visit that `wanted` accepts, and `at_end` of the return from it."""

    def __init__(
        self,
        wanted: Callable[[str, int], bool],
        at_line: Callable[[Visit, FrameType], None],
        at_end: Callable[[Visit], None],
    ) -> None:
        self._wanted, self._at_line, self._at_end = wanted, at_line, at_end
        self._seen: Counter[str] = Counter()
        self._open: list[Visit] = []

    def install(self) -> None:
        """In this thread, from now on."""
        sys.settrace(self._call)

    def _call(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        place = OF_CALL.get(frame.f_code.co_qualname)
        if event == "call" and place is not None and frame.f_code.co_filename.startswith(PRODUCT):
            self._seen[place] += 1
            if self._wanted(place, self._seen[place]):
                self._open.append(Visit(place, self._seen[place], frame))
        return self._inside if self._open else None

    def _inside(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        if event == "line":
            for visit in self._open:
                visit.lines += 1
                self._at_line(visit, frame)
        elif event == "return" and self._open and frame is self._open[-1].frame:
            self._at_end(self._open.pop())
        return self._inside
