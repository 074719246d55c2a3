"""Telling the user what preparation is doing, when it takes long enough to wonder."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

PATIENCE_SECONDS = 1.0
LINE_SECONDS = 15.0
log = logging.getLogger(__name__)


class ProgressBar:
    """Call it with (stage, bytes done in this stage); a bar appears on a terminal once the work has taken a second.

    Elsewhere a line is logged every 15 seconds.
    """

    def __init__(self) -> None:
        self._start = self._last_line = time.monotonic()
        self._on_terminal = Console(file=sys.stderr).is_terminal
        self._bar: Progress | None = None
        self._stage: str | None = None

    def __call__(self, stage: str, done_bytes: int) -> None:
        if not self._on_terminal:
            self._say(stage, done_bytes)
            return
        if self._bar is None:
            if time.monotonic() - self._start < PATIENCE_SECONDS:
                return
            self._bar = _new_bar()
            self._bar.start()
        if stage != self._stage:
            self._stage = stage
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            # how many bytes there are in all is not known before compressed files are read
            self._bar.add_task(stage, total=None)
        self._bar.update(self._bar.task_ids[-1], completed=done_bytes)

    def _say(self, stage: str, done_bytes: int) -> None:
        now = time.monotonic()
        if now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            log.info("%s: %.1f MB", stage, done_bytes / 1e6)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _new_bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(file=sys.stderr), transient=True)
