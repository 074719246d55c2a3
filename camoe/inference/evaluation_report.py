"""An evaluation on the terminal: how far its benchmarks are, and what was found."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from camoe.inference.benchmark_figures import BenchmarkFigure
from camoe.inference.domain_scores import DomainScore

SHOWN_DOMAINS = 10


def benchmark_table(figures: Sequence[BenchmarkFigure]) -> Table:
    """A row per figure with its standard error; that of a part by the part's own name."""
    table = Table.grid(padding=(0, 1))
    table.add_column(overflow="fold")
    table.add_column()
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    titles = ("benchmark", "metric", "value", "± error", "documents")
    table.add_row(*(Text(title, style="grey58") for title in titles))
    for figure in figures:
        error = "" if math.isnan(figure.error) else f"± {figure.error:.2g}"
        name = f"  {figure.part.partition('=')[2] or figure.part}" if figure.part else figure.task
        value = f"{figure.value:.4f}" if abs(figure.value) < 1e4 else f"{figure.value:.4g}"
        table.add_row(Text(name), figure.metric, value, error, f"{figure.n:,}")
    return table


def domain_table(scores: Sequence[DomainScore], title: str = "domain") -> Table:
    """The largest domains, and one row for all others."""
    table = Table(title)
    for figure in ("bits per byte", "bytes", "documents"):
        table.add_column(figure, justify="right")
    shown, others = scores[:SHOWN_DOMAINS], scores[SHOWN_DOMAINS:]
    if others:
        sums = (sum(getattr(score, name) for score in others) for name in ("documents", "tokens", "bytes", "nats"))
        shown = [*shown, DomainScore(f"{len(others)} others", *sums)]
    for score in shown:
        bits = f"{score.bits_per_byte:.4f}" if score.bytes else ""
        table.add_row(score.domain, bits, f"{score.bytes:,}", f"{score.documents:,}")
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
