"""Signals that ask a sweep to stop, noted while they come and acted upon by whoever looks."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class StopRequest:
    """While entered, SIGINT and SIGTERM are counted instead of ending the process; `signal` is the first of them."""

    WATCHED = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.count = 0
        self.signal: signal.Signals | None = None
        self._seen = 0
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopRequest:
        for watched in self.WATCHED:
            self._previous[watched] = signal.signal(watched, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for watched, handler in self._previous.items():
            signal.signal(watched, handler)  # type: ignore[arg-type]

    def is_new(self) -> bool:
        """Whether one came since the last look."""
        new, self._seen = self.count > self._seen, self.count
        return new

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (a handler's signature)
        self.count += 1
        self.signal = self.signal or signal.Signals(number)
