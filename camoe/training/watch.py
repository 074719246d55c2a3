"""A thread that ends this process where another one has failed and the main thread cannot notice it.

gloo reports a lost connection at once. But a host that waits for a GPU, whose kernels wait for those of other
processes, runs no Python until they come: no exception, no signal handler.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import TracebackType

from camoe.training.last_words import LastWords

PERIOD, GRACE = 1.0, 15.0
"""Seconds between two looks, and those that the main thread gets to find its own way out."""


class Watch:
    """A context around what may block for ever. `report` is told why, in the thread, before the process exits."""

    def __init__(self, words: LastWords, report: Callable[[BaseException], object], grace: float = GRACE) -> None:
        self._words, self._report, self._grace = words, report, grace
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch for lost ranks", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(PERIOD):
            reason = self._words.heard()
            if reason is None:
                continue
            if not self._over.wait(self._grace):
                self._report(reason)
                os._exit(1)
            return
