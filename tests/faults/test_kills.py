"""kill -9 at any moment: the run goes on from where it was, and ends bit for bit as if nothing had happened."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.compositions import COMPOSITIONS
from tests.faults.cut_disk import CutDisk, cut_disk_in
from tests.faults.endings import Ending, OfThePower
from tests.faults.interrupted_run import KILLED, Start, interrupt
from tests.faults.jobs import JobServer, start_command
from tests.faults.kill_plan import Plan, any_moment, either, in_places
from tests.faults.reference import Reference

pytestmark = pytest.mark.slow
POWER_CUTS = 5  # one more for so many kills
BY_COMMAND = 12  # one kill of so many is that of a command with its own start-up
IN_A_PLACE = 0.75  # of the others


class Kills:
    """As many as were asked for, at moments drawn from a seed that a failure shows."""

    def __init__(self, count: int, seed: int, cwd: Path, report: Callable[[str, object], None]) -> None:
        self.cuts = count // POWER_CUTS
        self.by_command, self.seed, self._cwd, self._report = count // BY_COMMAND, seed, cwd, report
        self.share = math.ceil((count - self.by_command) / len(COMPOSITIONS))
        self.draw = random.Random(seed)

    def survive(
        self,
        start: Start,
        reference: Reference,
        plan: Plan,
        wanted: int,
        ending: Ending = KILLED,
        cwd: Path | None = None,
    ) -> None:
        """Every resume and every end is compared with the reference. cwd: where, if not beside what the tests keep."""
        found = Counter[str]()
        for where in interrupt(start, reference, cwd or self._cwd, self.draw, plan, wanted, ending):
            print(f"seed {self.seed}: {where}")
            found[where.partition(",")[0]] += 1
        self._report("kills", f"{wanted}, seed {self.seed}: {dict(found.most_common())}")


@pytest.fixture
def random_kills(pytestconfig: pytest.Config, tmp_path: Path, record_property: Callable[[str, object], None]) -> Kills:
    """By the options --kills and --kill-seed."""
    return Kills(pytestconfig.getoption("--kills"), pytestconfig.getoption("--kill-seed"), tmp_path, record_property)


@pytest.fixture
def cut_disk(tmp_path: Path) -> Iterator[CutDisk]:
    """An ext4 file system of 256 MB."""
    with cut_disk_in(tmp_path, "256m") as made:
        if made is None:
            pytest.skip("making and mounting an ext4 file system is not possible here")
        yield made


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_killed_again_and_again(
    jobs: JobServer, reference: Callable[[str], Reference], random_kills: Kills, name: str
) -> None:
    expected, draw = reference(name), random_kills.draw
    plan = either(draw, IN_A_PLACE, in_places(draw, expected.calls), any_moment(draw, expected.seconds))
    random_kills.survive(jobs.start, expected, plan, random_kills.share)


def test_a_command_killed_again_and_again(reference: Callable[[str], Reference], random_kills: Kills) -> None:
    expected = reference("default")
    plan = any_moment(random_kills.draw, expected.seconds, of_run=True)
    random_kills.survive(start_command, expected, plan, random_kills.by_command)


def test_the_power_fails_again_and_again(
    jobs: JobServer, reference: Callable[[str], Reference], random_kills: Kills, cut_disk: CutDisk, tmp_path: Path
) -> None:
    """What counts for the run when it goes on had been flushed to the disk."""
    expected, draw = reference("default"), random_kills.draw
    plan = either(draw, IN_A_PLACE, in_places(draw, expected.calls), any_moment(draw, expected.seconds))
    random_kills.survive(jobs.start, expected, plan, random_kills.cuts, OfThePower(cut_disk, tmp_path), cut_disk.path)
