"""A planned sweep from its first job to its table, with a launcher of the test's own."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from camoe.config import ConfigError
from camoe.sweeping.run_sweep import run_sweep
from camoe.sweeping.sweep import Sweep
from camoe.sweeping.sweep_report import ArmJob, SweepReport
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_status import State
from tests.sweeping.planned_study import planned


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.chdir(tmp_path)
    return planned("smoke", "tracking=local")


class FakeLaunch:
    """Runs nothing; leaves a folder that ended in the state that each arm's name is given, finished by default."""

    def __init__(self, states: dict[str, State] | None = None, stopped: signal.Signals | None = None) -> None:
        self.states, self.stopped = states or {}, stopped
        self.asked: list[tuple[str, int | str]] = []

    def __call__(self, _: Path, jobs: Sequence[ArmJob], report: SweepReport) -> signal.Signals | None:
        for number, job in enumerate(jobs):
            self.asked.append((job.planned.arm, job.planned.seed))
            report.started(job, str(number))
            state = self.states.get(job.planned.arm, "finished")
            run = RunFolder.create(
                job.task.config.output_dir,
                "run",
                job.planned.signature,
                config=asdict(job.task.config),
                provenance={"data": "text"},
            )
            run.set_status(state, "ValueError: odd" if state == "failed" else "")
            run.unlock()
            report.ended(job, str(number), 0)
        return self.stopped


def no_task(*_: object) -> None:
    raise AssertionError


def test_every_run_is_launched_with_its_own_configuration(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    launch = FakeLaunch()
    run_sweep(sweep, launch, no_task)
    assert launch.asked == [(arm, seed) for seed in (1, 2) for arm in ("gate", "market", "placebo")]
    assert "sweep smoke: 6 finished" in capsys.readouterr().out
    assert json.loads((sweep.folder / "sweep.json").read_text())["parent_run_id"] is None
    assert "6 finished" in (sweep.folder / "table.txt").read_text()


def test_a_failed_arm_ends_the_command_with_1(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        run_sweep(sweep, FakeLaunch({"market": "failed"}), no_task)
    assert ending.value.code == 1
    assert "market, seed 1: failed: ValueError: odd" in capsys.readouterr().out


def test_a_stopped_sweep_ends_with_its_signal(sweep: Sweep) -> None:
    with pytest.raises(SystemExit) as ending:
        run_sweep(sweep, FakeLaunch(stopped=signal.SIGINT), no_task)
    assert ending.value.code == 128 + signal.SIGINT


def test_some_arms_only_leave_the_plan_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = planned("smoke", "tracking=local", "arm=market")
    launch = FakeLaunch()
    run_sweep(sweep, launch, no_task)
    assert launch.asked == [("market", 1), ("market", 2)]
    assert len(json.loads((sweep.folder / "sweep.json").read_text())["arms"]) == 6


def test_two_processes_do_not_launch_the_same_sweep(sweep: Sweep) -> None:
    def launches_again(*_: object) -> None:
        run_sweep(sweep, FakeLaunch(), no_task)

    with pytest.raises(ConfigError, match="this sweep is in use by"):
        run_sweep(sweep, launches_again, no_task)
    run_sweep(sweep, FakeLaunch(), no_task)
