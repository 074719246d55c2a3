"""What a person sees of a running job: a progress bar on a terminal, plain lines anywhere else, all in train.log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

LINES = logging.getLogger("camoe.progress")
ROOT = logging.getLogger("camoe")
FILE_ONLY = {"file_only": True}


class Choice(NamedTuple):
    """One resolved choice of the run and its reason."""

    what: str
    value: str
    why: str = ""


class ProgressDisplay:
    """A context: inside it, progress and every message of the `camoe` loggers go to the console and to train.log."""

    def __init__(self, total_steps: int, log_every: int, log_file: Path | None, console: Console | None = None) -> None:
        """Without a `log_file` nothing is kept."""
        self.console = console or Console()
        self._total, self._log_every = total_steps, log_every
        self._handlers: list[logging.Handler] = [_ConsoleHandler(self.console)]
        if log_file is not None:
            self._handlers.insert(0, _file_handler(log_file))
        self._progress = Progress(
            TextColumn("[bold]{task.fields[phase]}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=self.console,
            disable=not self.console.is_terminal,
            expand=True,
        )
        self._task: TaskID | None = None
        self._began, self._first_step = time.monotonic(), 0
        self._before = (ROOT.level, ROOT.propagate)

    @classmethod
    def silent(cls) -> ProgressDisplay:
        """Shows and keeps nothing."""
        return cls(1, 1, None, Console(quiet=True, force_terminal=False))

    def __enter__(self) -> ProgressDisplay:
        ROOT.setLevel(logging.INFO)
        ROOT.propagate = False
        for handler in self._handlers:
            ROOT.addHandler(handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        for handler in self._handlers:
            ROOT.removeHandler(handler)
            handler.close()
        ROOT.setLevel(self._before[0])
        ROOT.propagate = self._before[1]

    def choices(self, rows: Sequence[Choice]) -> None:
        """The first lines: what was decided, and why."""
        table = Table.grid(padding=(0, 2))
        for _ in Choice._fields:
            table.add_column(overflow="fold")
        for what, value, why in rows:
            table.add_row(Text(what, style="grey58"), Text(value, style="bold"), Text(why, style="grey58"))
            LINES.info("%s: %s%s", what, value, f" ({why})" if why else "", extra=FILE_ONLY)
        self.console.print(table)

    def start(self, step: int) -> None:
        """Training begins after `step` optimiser steps that are already done."""
        self._began, self._first_step = time.monotonic(), step
        self._task = self._progress.add_task("", total=self._total, completed=step, phase="", numbers="")
        self._progress.start()

    def update(self, step: int, *, loss: float, tokens_per_s: float, phase: str) -> None:
        """Steps done so far, the loss in nats per token, the training phase."""
        numbers = f"loss {loss:.4f}  {tokens_per_s:,.0f} tokens/s  {self._time_left(step)} left"
        if self._task is not None:
            self._progress.update(self._task, completed=step, phase=phase, numbers=numbers)
        if step % self._log_every == 0 or step == self._total:
            hidden = FILE_ONLY if self.console.is_terminal else {}
            LINES.info("step %d/%d  %s  %s", step, self._total, phase, numbers, extra=hidden)

    def say(self, text: str) -> None:
        """One line, above the progress bar."""
        LINES.info("%s", text)

    def stop(self) -> None:
        """Take the bar away, e.g. before the summary."""
        self._progress.stop()

    def _time_left(self, step: int) -> str:
        done = step - self._first_step
        seconds = (time.monotonic() - self._began) / max(done, 1) * (self._total - step)
        return str(timedelta(seconds=round(seconds)))


class _ConsoleHandler(logging.Handler):
    """Prints messages through rich, so that they do not break the progress bar."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console
        self.addFilter(lambda record: not getattr(record, "file_only", False))

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message, with its level from warnings up."""
        severe = record.levelno >= logging.WARNING
        text = f"{record.levelname.lower()}: {record.getMessage()}" if severe else record.getMessage()
        self.console.print(Text(text, style="yellow" if severe else ""), soft_wrap=True)


class _LogFile(logging.FileHandler):
    """Leaves out what a full disk does not take: what a run must not lose stands in metrics.jsonl."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Says nothing but of our own mistakes."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        """Also where the disk does not take what is left."""
        with suppress(OSError):
            super().close()


def _file_handler(path: Path) -> logging.Handler:
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    return handler
