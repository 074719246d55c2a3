"""A disk that becomes full: one line, nothing half written that counts, and with room again the same end."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.small_disk import SmallDisk
from tests.faults.evidence import assert_on_the_way, assert_same_end
from tests.faults.jobs import JobServer
from tests.faults.reference import Reference
from tests.jobs.command import run_folder

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("place", ["checkpoint", "log flush", "arrays", "end"])
def test_a_run_ends_in_one_line_and_goes_on_when_there_is_room(
    jobs: JobServer, reference: Callable[[str], Reference], disk: SmallDisk, place: str, pytestconfig: pytest.Config
) -> None:
    expected = reference("default")
    draw = random.Random(f"{pytestconfig.getoption('--kill-seed')} {place}")
    where = {"place": place, "call": 1 if place == "end" else 2, "line": draw.randrange(expected.calls[place][0] // 2)}
    fault = ("full_disk_at_line", {**where, "disk": str(disk.path)})
    done = jobs.run(disk.path, *expected.settings, fault=fault, output=disk.path.parent / "output.txt")
    print(where, done.output)
    folder = run_folder(disk.path)
    assert done.code == 2
    assert "No space left on device; make room, then python run.py resume=" in done.output.splitlines()[-1]
    assert "Traceback" not in done.output
    disk.free()
    assert_on_the_way(folder, expected.folder)
    assert not list((folder / "checkpoints").glob(".*"))
    done = jobs.run(disk.path, f"resume={folder}")
    assert done.code == 0, done.output
    assert_same_end(folder, expected.folder)


def test_no_run_begins_on_a_full_disk(jobs: JobServer, reference: Callable[[str], Reference], disk: SmallDisk) -> None:
    settings = reference("default").settings
    fault = ("full_disk_at_line", {"place": "folder made", "call": 1, "line": 0, "disk": str(disk.path)})
    done = jobs.run(disk.path, *settings, fault=fault, output=disk.path.parent / "output.txt")
    assert done.code == 2, done.output
    assert "takes no run folder" in done.output.splitlines()[-1]
    assert done.output.splitlines()[-1].endswith("(No space left on device))")
    assert "Traceback" not in done.output
    assert not list(disk.path.glob("outputs/2*/*"))


def test_nothing_begins_or_goes_on_where_only_reading_is_permitted(
    jobs: JobServer, reference: Callable[[str], Reference], disk: SmallDisk, interrupted: Callable[[Path], Path]
) -> None:
    folder = interrupted(disk.path)
    assert disk.mount("remount,ro")
    elsewhere = disk.path.parent
    for settings, refusal in {
        (f"resume={folder}",): f"{folder}: this run cannot be written to (Read-only file system)",
        (*reference("default").settings, f"output_dir={disk.path}", "force=true"): "takes no run folder (Read-only",
    }.items():
        done = jobs.run(elsewhere, *settings)
        assert done.code == 2, done.output
        assert refusal in done.output.splitlines()[-1]
        assert "Traceback" not in done.output
