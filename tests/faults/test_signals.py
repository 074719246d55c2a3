"""Signals that ask for an end, in any place, once and twice: the run goes on from there as if they had not come."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

from tests.faults.interrupted_run import interrupt
from tests.faults.jobs import JobServer
from tests.faults.kill_plan import Kill, in_places
from tests.faults.reference import Reference

pytestmark = pytest.mark.slow
STOPS = [(signal.SIGTERM,), (signal.SIGUSR2,), (signal.SIGINT,), (signal.SIGINT, signal.SIGINT)]
EACH = 3


def test_stopped_again_and_again(
    jobs: JobServer, reference: Callable[[str], Reference], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    seed = pytestconfig.getoption("--kill-seed")
    draw, expected, kinds = random.Random(seed), reference("default"), cycle(STOPS)
    in_a_place = in_places(draw, expected.calls)

    def plan(begins: bool) -> Kill:
        return replace(in_a_place(begins), numbers=next(kinds))

    for where in interrupt(jobs.start, expected, tmp_path, draw, plan, EACH * len(STOPS)):
        print(f"seed {seed}: {where}")
