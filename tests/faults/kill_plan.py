"""Where and when a process is killed, drawn from a seed."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.faults.places import FIRST_CALLS, ONLY_FIRST, ONLY_LATER

TIME = "any moment"


@dataclass(frozen=True)
class Kill:
    """In a place, before a line of one of its calls; or, where `place` is TIME, after so many seconds.

    of_run: of the run, which the process takes up after its start-up; else of the process.
    """

    place: str
    call: int = 0
    line: int = 0
    seconds: float = 0.0
    of_run: bool = False
    numbers: tuple[int, ...] = (signal.SIGKILL,)

    @property
    def where(self) -> dict[str, Any]:
        """The line, for a function of `inside`."""
        return {"place": self.place, "call": self.call, "line": self.line}


Plan = Callable[[bool], Kill]
"""The next one, told whether its process begins the run."""


def in_places(draw: random.Random, calls: Mapping[str, list[int]]) -> Plan:
    """At a line of one of the first calls of a place, all places equally likely.

    calls: by place, how many lines each of its calls runs.
    """

    def plan(begins: bool) -> Kill:
        place = draw.choice(sorted(set(calls) - (ONLY_LATER if begins else ONLY_FIRST)))
        call = draw.randint(1, min(FIRST_CALLS, len(calls[place])))
        return Kill(place, call, draw.randrange(1 + calls[place][call - 1]))

    return plan


def any_moment(draw: random.Random, latest: float, *, of_run: bool = False) -> Plan:
    """From outside, up to so many seconds after the start of the process, or of the run: inside native code too."""
    return lambda _: Kill(TIME, seconds=draw.uniform(0, latest), of_run=of_run)


def either(draw: random.Random, share: float, first: Plan, second: Plan) -> Plan:
    """The first with that probability."""
    return lambda begins: (first if draw.random() < share else second)(begins)
