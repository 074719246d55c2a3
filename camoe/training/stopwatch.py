"""Time spent training, whatever is not training left out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Counts optimiser steps against seconds, for the last window and for this process as a whole."""

    def __init__(self, step: int) -> None:
        """`step` steps are done already."""
        self._began = self._since = time.perf_counter()
        self._first_step = self._step = step
        self._left_out = self._left_out_before = 0.0

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """What happens inside does not count as training."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._left_out += time.perf_counter() - started

    def lap(self, step: int) -> tuple[int, float]:
        """Steps and training seconds since the last lap."""
        now = time.perf_counter()
        steps, seconds = step - self._step, now - self._since - self._left_out
        self._since, self._step = now, step
        self._left_out_before, self._left_out = self._left_out_before + self._left_out, 0.0
        return steps, seconds

    def steps_per_second(self) -> float:
        """Mean of this process, up to the last lap; 0 before the first."""
        seconds = self._since - self._began - self._left_out_before
        return (self._step - self._first_step) / seconds if seconds else 0.0

    def elapsed(self) -> float:
        """Seconds since this process began, all included."""
        return time.perf_counter() - self._began
