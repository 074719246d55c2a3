"""How runs of a sweep stand, read from files alone."""

from __future__ import annotations

import json
import time
from datetime import datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from camoe.sweeping.arm_status import ArmStatus, sweep_status
from camoe.sweeping.arm_table import described, print_table
from camoe.sweeping.job_log import JobLog
from camoe.sweeping.plan import PlannedArm, SweepPlan, sweep_folder
from camoe.tracking.process_identity import ProcessIdentity
from camoe.tracking.run_folder import RunFolder

SIGNATURE = "0123456789"
ARM = PlannedArm("gate", 1, ("economy=off",), SIGNATURE)
METRIC = "final/bpb"
CONFIG = {"phase": {"schedule": {"warm": {"steps": 4}, "normal": {"steps": 16}}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = sweep_folder(tmp_path, "study")
    path.mkdir(parents=True)
    return path


def status(folder: Path) -> ArmStatus:
    plan = SweepPlan("study", "run.py", "2026", (ARM,), {"primary_metric": METRIC})
    (found,) = sweep_status(folder, plan)
    return found


def made(folder: Path, hour: int = 10) -> RunFolder:
    return RunFolder.create(folder.parents[1], "run", SIGNATURE, config=CONFIG, now=datetime(2026, 1, 2, hour))


def record(run: RunFolder, **values: float) -> None:
    with run.metrics_file.open("a") as file:
        file.write(json.dumps({name.replace("__", "/"): value for name, value in values.items()}) + "\n")


def test_waiting_starting_running_finished(folder: Path) -> None:
    assert status(folder).state == "waiting"
    JobLog(folder).started(SIGNATURE, "1", ProcessIdentity.current())
    assert status(folder).state == "starting"
    time.sleep(0.01)
    run = made(folder)
    assert described(status(folder)) == "running 0/20"
    for step in (2, 4):
        record(run, step=step, time__unix=1000.0 + 10 * step, time__tokens_per_s=50.0 * step)
    assert described(status(folder)) == "running 4/20, 0:02:40 left"
    progress = status(folder).progress
    assert progress is not None
    assert progress.tokens_per_s == 200
    record(run, step=20, final__bpb=2.5, time__unix=1300.0)
    run.set_status("finished")
    run.unlock()
    found = status(folder)
    assert (found.state, found.folder, found.error) == ("finished", run.path, "")
    assert found.progress is not None
    assert found.progress.value == 2.5


def test_a_job_that_failed_before_its_run_began_outdates_an_older_folder(folder: Path) -> None:
    run = made(folder)
    run.set_status("killed", "SIGTERM")
    run.unlock()
    assert (status(folder).state, status(folder).error) == ("killed", "SIGTERM")
    log = JobLog(folder)
    time.sleep(0.01)
    log.started(SIGNATURE, "1", ProcessIdentity.current())
    assert status(folder).state == "starting"
    log.ended("1", 3)
    assert status(folder).state == "failed"
    assert "exit code 3" in status(folder).error


def test_a_killed_process_is_named(folder: Path) -> None:
    log = JobLog(folder)
    log.started(SIGNATURE, "1", ProcessIdentity.current())
    time.sleep(0.01)
    made(folder).unlock()
    assert "vanished" in status(folder).error
    log.ended("1", -9)
    assert (status(folder).state, status(folder).error) == ("killed", "killed by SIGKILL (out of memory, or kill -9)")


def test_finished_comes_before_newer(folder: Path) -> None:
    first, second = made(folder, 10), made(folder, 11)
    first.set_status("finished")
    second.set_status("failed", "ValueError: odd\nsecond line")
    assert status(folder).folder == first.path
    first.set_status("killed")
    assert (status(folder).folder, status(folder).error) == (second.path, "ValueError: odd")


def test_a_forced_run_comes_before_the_finished_one(folder: Path) -> None:
    old = made(folder)
    old.set_status("finished")
    old.unlock()
    time.sleep(0.01)
    JobLog(folder).started(SIGNATURE, "1", ProcessIdentity.current())
    assert (status(folder).state, status(folder).folder) == ("starting", None)
    forced = RunFolder.create(folder.parents[1], "run", SIGNATURE, config=CONFIG)
    assert (status(folder).state, status(folder).folder) == ("running", forced.path)


def test_the_table_shows_what_a_row_needs(folder: Path) -> None:
    run = made(folder)
    run.set_status("failed", "ValueError: odd")
    console = Console(width=400, file=StringIO())
    print_table(console, "study", METRIC, [status(folder), ArmStatus(ARM, "waiting")])
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "sweep study: 1 failed, 1 waiting" in shown
    for piece in ("arm", "seed", "status", METRIC, "tokens/s", "folder", "error", "gate", "ValueError: odd", "waiting"):
        assert piece in shown
    assert run.path.name in shown
