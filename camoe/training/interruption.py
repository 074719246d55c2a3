"""Signals become a flag that the loop reads at step boundaries, so that a run always stops in a saved state."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class Interruption:
    """While entered, SIGINT, SIGTERM and SIGUSR2 ask the loop to stop; a second Ctrl-C stops at once."""

    WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interruption:
        for watched in self.WATCHED:
            self._previous[watched] = signal.signal(watched, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for watched, handler in self._previous.items():
            signal.signal(watched, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (a handler's signature)
        if self.signal is signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)

    @property
    def requested(self) -> bool:
        """Whether a signal has asked for a stop."""
        return self.signal is not None
