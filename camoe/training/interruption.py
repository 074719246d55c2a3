"""Signals: a flag while training steps run, so that they end in a saved state, and an exception everywhere else."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

NOTICE = b"\nstopping after this step; a second Ctrl-C stops at once\n"


class Interrupted(BaseException):
    """A signal ended the run. Like KeyboardInterrupt, it passes `except Exception`."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(self.signal.name)


class Interruption:
    """While entered, SIGINT, SIGTERM and SIGUSR2 raise Interrupted; inside `deferred` they only set `requested`.

    Where several processes run the same steps, they all stop for a signal to any of them. A signal that ended the run
    is passed on at the exit to the handler that was there before, if somebody installed one: whoever started this run,
    a batch system say, learns of it once the run is saved.
    """

    WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)

    def __init__(self) -> None:
        self._signal = 0
        self._agree: Callable[[int], int] = int
        self._deferring = False
        self._ctrl_c = 0
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interruption:
        for watched in self.WATCHED:
            self._previous[watched] = signal.signal(watched, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for watched, handler in self._previous.items():
            signal.signal(watched, handler)  # type: ignore[arg-type]
        if isinstance(error, Interrupted):
            self._pass_on(error.signal)

    def _pass_on(self, number: signal.Signals) -> None:
        handler = self._previous[number]
        if callable(handler) and handler is not signal.default_int_handler:
            handler(number, None)

    @property
    def requested(self) -> bool:
        """Whether a deferred signal has asked for a stop; inside `deferred` a question to all processes."""
        return self._agree(self._signal) > 0

    @contextmanager
    def deferred(self, agree: Callable[[int], int] = int) -> Iterator[None]:
        """Signals inside ask for a stop, which raises Interrupted at the end; a second Ctrl-C raises at once.

        agree: the largest of the numbers that all processes give. They ask it equally often, at the same steps.
        """
        self._deferring, self._agree = True, agree
        try:
            yield
        finally:
            self._deferring, self._agree = False, int
        found = agree(self._signal)
        if found:
            raise Interrupted(found)

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (a handler's signature)
        self._ctrl_c += number == signal.SIGINT
        if not self._deferring or self._ctrl_c > 1:
            raise Interrupted(number)
        self._signal = number
        os.write(2, NOTICE)  # print could be in the middle of a line of its own
