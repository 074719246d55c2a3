"""A process whose main thread runs no Python ends all the same once another one has failed."""

import subprocess
import sys
import time

import torch.distributed as dist

from camoe.training.last_words import LastWords
from camoe.training.watch import Watch

BLOCKED = """
import ctypes, time
import torch.distributed as dist
from camoe.training.last_words import LastWords
from camoe.training.watch import Watch
words = LastWords(dist.HashStore(), 0)
LastWords(words.store, 1).leave(ValueError("too hot"))
with Watch(words, lambda reason: print(repr(reason), flush=True), grace=0.1):
    ctypes.CDLL(None).sleep(60)  # no signal handler, no exception
"""


def test_a_blocked_process_reports_and_ends() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (1, "PeerLost('rank 1: ValueError: too hot')\n"), done.stderr


def test_one_that_goes_on_by_itself_is_left_alone() -> None:
    words, reports = LastWords(dist.HashStore(), 0), list[BaseException]()
    with Watch(words, reports.append, grace=60):
        words.leave(ValueError("mine"))
        time.sleep(1.5)
    assert reports == []
