"""One run of a sweep as a thing that can be pickled, sent to another process, and called there."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from camoe.config import RunConfig
from camoe.config.command_record import CommandRecord
from camoe.tracking.sweep_parent import VARIABLE as PARENT_VARIABLE

INTERRUPTED = 128  # exit codes above it are 128 + signal
Task = Callable[[RunConfig, CommandRecord], object]


@dataclass(frozen=True)
class ArmEnd:
    """How an arm ended: finished, failed with the error that `reason` says, or killed, most often by a signal."""

    state: Literal["finished", "failed", "killed"]
    reason: str = ""


@dataclass(frozen=True)
class ArmTask:
    """Calls `task`, which is what run.py does with one configuration, with a configuration that is already checked.

    Nothing is composed anew: what was checked is what runs, whatever becomes of the YAML files meanwhile.
    """

    task: Task
    config: RunConfig
    command: CommandRecord
    parent_run_id: str | None = None

    def __call__(self) -> ArmEnd:
        """To the run's end. Its exceptions pass; a signal that it took care of becomes an `ArmEnd`."""
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # until the run installs its own handlers
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        sys.argv = [self.command.argv[0], *self.command.overrides]  # the command that would do the same alone
        if self.parent_run_id is not None:
            os.environ[PARENT_VARIABLE] = self.parent_run_id
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stdout)
        logging.getLogger("camoe").setLevel(logging.INFO)
        for line in self.command.warnings:
            print(f"warning: {line}", flush=True)
        try:
            self.task(self.config, self.command)
        except KeyboardInterrupt:
            return ArmEnd("killed", "a signal before the run began")
        except SystemExit as ending:
            return _end_of(ending)
        return ArmEnd("finished")


def _end_of(ending: SystemExit) -> ArmEnd:
    """What the exit code says; raises RuntimeError for one that no signal explains."""
    code = ending.code or 0
    if code == 0:
        return ArmEnd("finished")
    if isinstance(code, int) and code > INTERRUPTED:
        return ArmEnd("killed", signal.Signals(code - INTERRUPTED).name)
    raise RuntimeError(f"the run ended with exit code {code}") from ending
