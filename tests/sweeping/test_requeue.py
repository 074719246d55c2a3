"""Signals of a SLURM job, with a stand-in for SLURM's queue and for submitit's handler."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from camoe.sweeping import slurm_queue
from camoe.sweeping.requeue import SIGNALS, LeftToSlurm, python_with_signals_blocked, requeue_on_signals


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """What submitit's handler was asked for; the process has its own handlers back afterwards."""
    heard: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    monkeypatch.setenv("SLURM_JOB_ID", "7")

    def like_submitit(number: int, _: object) -> None:
        heard.append(number)
        sys.exit(-1)

    signal.signal(signal.SIGUSR2, like_submitit)
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("queue", [{"7": "RUNNING"}, None])
def test_either_signal_asks_submitit_once(
    asked: list[int], monkeypatch: pytest.MonkeyPatch, number: signal.Signals, queue: dict[str, str] | None
) -> None:
    monkeypatch.setattr(slurm_queue, "states", lambda _: queue)
    requeue_on_signals()
    with pytest.raises(LeftToSlurm):
        signal.raise_signal(number)
    for again in SIGNALS:
        signal.raise_signal(again)  # SLURM's own, while it requeues
    assert asked == [signal.SIGUSR2]


def test_a_job_that_was_cancelled_is_not_requeued(asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_queue, "states", lambda _: {"7": "COMPLETING"})
    requeue_on_signals()
    with pytest.raises(LeftToSlurm) as left:
        signal.raise_signal(signal.SIGTERM)
    assert (asked, left.value.code) == ([], 128 + signal.SIGTERM)


def test_a_cancelled_element_of_an_array_looks_for_itself(asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setattr(slurm_queue, "states", {"7": {"7_0": "RUNNING", "7_3": "COMPLETING"}}.get)
    requeue_on_signals()
    with pytest.raises(LeftToSlurm):
        signal.raise_signal(signal.SIGTERM)
    assert asked == []


def test_only_the_first_rank_asks(asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_queue, "states", lambda _: {"7": "RUNNING"})
    monkeypatch.setenv("SLURM_PROCID", "1")
    requeue_on_signals()
    with pytest.raises(LeftToSlurm) as left:
        signal.raise_signal(signal.SIGUSR2)
    assert (asked, left.value.code) == ([], 0)


def test_a_signal_that_came_while_python_started_counts_later() -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGUSR2); print('imported', flush=True)\n"
    program += "signal.signal(signal.SIGUSR2, lambda *_: print('received', flush=True))\n"
    program += "signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])"
    done = subprocess.run(
        ["bash", "-c", f'{python_with_signals_blocked()} -c "$0"', program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["imported", "received"]
