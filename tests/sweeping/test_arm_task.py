"""A run of a sweep survives pickling, and says how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

from camoe.config import RunConfig
from camoe.config.command_record import CommandRecord
from camoe.config.phase import PhaseConfig, PhaseScheduleConfig
from camoe.sweeping.arm_task import ArmEnd, ArmTask, Task

ROOT = Path(__file__).resolve().parents[2]
COMMAND = CommandRecord(argv=("run.py", "-m"), overrides=("seed=1",), choices={}, sweep_dir=None, arm=0)
CONFIG = RunConfig(seed=3, phase=PhaseScheduleConfig(schedule={"only": PhaseConfig(steps=1)}))
CALL = """
import pickle, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell takes from what it starts in the background
print(pickle.load(sys.stdin.buffer)())
"""


def call(task: Task, parent: str | None = None) -> subprocess.CompletedProcess[str]:
    """The task called in a process of its own."""
    pickled = cloudpickle.dumps(ArmTask(task, CONFIG, COMMAND, parent))
    done = subprocess.run(
        [sys.executable, "-c", CALL],
        input=pickled,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"},
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_gets_its_configuration_its_command_and_its_parent() -> None:
    def task(config: RunConfig, command: CommandRecord) -> None:
        print(config.seed, command.arm, sys.argv, os.environ["CAMOE_PARENT_RUN"])

    done = call(task, parent="abc")
    assert done.stdout.splitlines() == ["3 0 ['run.py', 'seed=1'] abc", str(ArmEnd("finished"))], done.stderr


@pytest.mark.parametrize(("code", "said"), [(0, "finished"), (143, "SIGTERM")])
def test_an_exit_code_becomes_an_end(code: int, said: str) -> None:
    def task(*_: object) -> None:
        sys.exit(code)

    done = call(task)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_run_began(number: signal.Signals) -> None:
    def task(*_: object) -> None:
        os.kill(os.getpid(), number)

    done = call(task)
    assert done.returncode == 0, done.stderr
    assert "a signal before the run began" in done.stdout


def test_errors_pass() -> None:
    def fails(*_: object) -> None:
        raise ValueError("odd")

    def exits(*_: object) -> None:
        sys.exit(3)

    assert "ValueError: odd" in call(fails).stderr
    assert "RuntimeError: the run ended with exit code 3" in call(exits).stderr
