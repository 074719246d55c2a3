"""Jobs as the tests see them: of the server in job_server.py, or commands like a user's."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests.jobs.command import ROOT, command

PATIENCE = 300.0  # seconds for anything a job does
PAUSE = 0.01  # seconds between two looks at it
Fault = tuple[str, dict[str, Any]]
"""A function of inside.py and its settings."""


class Job:
    """One process. `output`: the file with its stdout and stderr."""

    def __init__(self, pid: int, output: Path, wait: Callable[[float], int]) -> None:
        """wait: for its exit code, so many seconds; then TimeoutError."""
        self.pid, self.output, self._wait = pid, output, wait
        self._code: int | None = None

    def send(self, number: int) -> None:
        """A signal; nothing when it has ended."""
        if not self.ended(0):
            os.kill(self.pid, number)

    def stopped(self) -> bool:
        """Make it stand still, and wait until it does; False where it ends first."""
        self.send(signal.SIGSTOP)
        while not self.ended(PAUSE):
            with suppress(psutil.NoSuchProcess):
                if psutil.Process(self.pid).status() == psutil.STATUS_STOPPED:
                    return True
        return False

    def ended(self, seconds: float) -> bool:
        """Whether it ends within that time."""
        try:
            self.wait(seconds)
        except TimeoutError:
            return False
        return True

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code, negative for a signal."""
        if self._code is None:
            self._code = self._wait(seconds)
        return self._code


@dataclass
class Done:
    """How a job ended. output: stdout and stderr together."""

    code: int
    output: str

    @classmethod
    def of(cls, job: Job) -> Done:
        """Once it has ended."""
        return cls(job.wait(), job.output.read_text())


class JobServer:
    """A context. Its jobs run one at a time, and differ from commands that a user types in nothing but their start."""

    def __enter__(self) -> JobServer:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.job_server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._last: Job | None = None
        assert self._answer(PATIENCE) == 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)

    def start(self, cwd: Path, *overrides: str, fault: Fault | None = None, output: Path | None = None) -> Job:
        """Start `python run.py OVERRIDES` in `cwd`; a job before it that a failed test has left is killed."""
        if self._last is not None and not self._last.ended(0):
            self._last.send(signal.SIGKILL)
            self._last.wait()
        output = output or _output(cwd)
        output.touch()  # the caller may read it before the process has begun
        order = {"arguments": overrides, "cwd": str(cwd), "output": str(output), "fault": fault}
        assert self._process.stdin is not None
        self._process.stdin.write(dumps(order) + "\n")
        self._process.stdin.flush()
        self._last = Job(self._answer(PATIENCE), output, self._answer)
        return self._last

    def run(self, cwd: Path, *overrides: str, fault: Fault | None = None, output: Path | None = None) -> Done:
        """Start it and wait for its end."""
        return Done.of(self.start(cwd, *overrides, fault=fault, output=output))

    def _answer(self, seconds: float) -> int:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise TimeoutError(f"no answer within {seconds:g} s")
        return int(self._process.stdout.readline())


def start_command(cwd: Path, *overrides: str, fault: None = None, output: Path | None = None) -> Job:
    """The same from the command line, which has its own start-up and can carry no fault."""
    assert fault is None
    output = output or _output(cwd)
    with output.open("w") as file:
        process = subprocess.Popen(command(*overrides), cwd=cwd, stdout=file, stderr=file)

    def wait(seconds: float) -> int:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired as late:
            raise TimeoutError from late

    return Job(process.pid, output, wait)


def _output(cwd: Path) -> Path:
    return cwd / f"output-{time.monotonic_ns()}.txt"
