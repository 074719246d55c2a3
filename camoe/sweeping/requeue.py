"""Inside a SLURM job: a preemption or a time-out ends in a new place in the queue, whenever it comes.

Before training its signals are answered here at once; while it trains, camoe.training.interruption saves the run first
and passes them on.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import cast

from camoe.sweeping.slurm_queue import SlurmQueue
from camoe.tracking.process_identity import own_slurm_job

SIGNALS = (signal.SIGUSR2, signal.SIGTERM)  # submitit asks SLURM for the first; the second comes where that is ignored
EXITED = 75  # "try again later"; SLURM ends the job anyway
BLOCKED_START = (
    "import os, signal, sys; "
    f"signal.pthread_sigmask(signal.SIG_BLOCK, {tuple(map(int, SIGNALS))}); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class LeftToSlurm(BaseException):
    """The job ends here, and SLURM decides when it starts again, if ever. Like SystemExit no `Exception`."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"exit code {code}")


class TooManyRequeues(BaseException):
    """The run was preempted or out of time more often than it may."""


def python_with_signals_blocked() -> str:
    """Shell words that start this Python with both signals kept back until `requeue_on_signals`.

    Without that, a signal during the seconds of its imports would end it. -P: the code is found by PYTHONPATH alone,
    and not in the working directory, which may be the checkout.
    """
    starter = [sys.executable, "-I", "-S", "-c", BLOCKED_START]
    return shlex.join([*starter, sys.executable, "-P"])


def requeue_on_signals() -> None:
    """From here on a signal asks submitit, whose handler is the one installed now, to requeue this job.

    Raises LeftToSlurm out of whatever the signal interrupts. A job that SLURM has cancelled or requeued itself is left
    to it. Of several ranks the first one asks for all.
    """
    requeue = cast("Callable[[int, FrameType | None], None]", signal.getsignal(signal.SIGUSR2))

    def receive(number: int, frame: FrameType | None) -> None:
        for known in SIGNALS:
            signal.signal(known, signal.SIG_IGN)  # requeueing makes SLURM send more of them
        if not still_running():
            raise LeftToSlurm(128 + number)
        if int(os.environ.get("SLURM_PROCID", "0")) > 0:
            raise LeftToSlurm(0)  # another code would end the first rank before it has asked
        try:
            requeue(signal.SIGUSR2, frame)
        except SystemExit as ending:
            raise LeftToSlurm(EXITED) from ending

    for known in SIGNALS:
        signal.signal(known, receive)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def still_running() -> bool:
    """Whether SLURM goes on with this job: it says COMPLETING once it was cancelled or requeued."""
    job = own_slurm_job()
    return job is None or SlurmQueue().state(job) in (None, "RUNNING")
