"""Time spent training, whatever is not training left out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Counts optimiser steps against seconds, for the last window and for the run, earlier processes included."""

    def __init__(self, step: int = 0, seconds: float = 0.0) -> None:
        """`step` steps are done already, and took `seconds`."""
        self._made = time.perf_counter()
        self._step, self._before, self.seconds_at_lap = step, seconds, seconds
        self.start()

    def start(self) -> None:
        """Training begins now: what this process did before was preparation."""
        self._began, self._left_out = time.perf_counter(), 0.0

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """What happens inside does not count as training."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._left_out += time.perf_counter() - started

    def seconds(self) -> float:
        """Training seconds of all steps so far."""
        return self._before + time.perf_counter() - self._began - self._left_out

    def lap(self, step: int) -> tuple[int, float]:
        """Steps and training seconds since the last lap."""
        now = self.seconds()
        steps, seconds = step - self._step, now - self.seconds_at_lap
        self._step, self.seconds_at_lap = step, now
        return steps, seconds

    def steps_per_second(self) -> float:
        """Mean of the run up to the last lap; 0 before the first."""
        return self._step / self.seconds_at_lap if self.seconds_at_lap else 0.0

    def elapsed(self) -> float:
        """Seconds since this process began, all included."""
        return time.perf_counter() - self._made
