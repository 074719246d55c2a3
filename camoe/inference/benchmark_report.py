"""Benchmarks on the terminal: how far they are, and what they found."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from camoe.inference.benchmark import BenchmarkFigure


def benchmark_table(figures: Sequence[BenchmarkFigure]) -> Table:
    """A row per figure."""
    table = Table("benchmark", "metric")
    for title in ("value", "± standard error", "documents"):
        table.add_column(title, justify="right")
    for figure in figures:
        error = "" if math.isnan(figure.error) else f"± {figure.error:.4g}"
        table.add_row(figure.task, figure.metric, f"{figure.value:.4f}", error, f"{figure.n:,}")
    return table


class BenchmarkProgress:
    """Call it with (kind of request, how many more are answered, of how many); shows nothing but on a terminal."""

    def __init__(self) -> None:
        console = Console(file=sys.stderr)
        columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._rows: dict[str, TaskID] = {}

    def __call__(self, kind: str, more: int, total: int) -> None:
        if kind not in self._rows:
            self._rows[kind] = self._bar.add_task(kind, total=total)
        self._bar.update(self._rows[kind], advance=more)

    def __enter__(self) -> BenchmarkProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
