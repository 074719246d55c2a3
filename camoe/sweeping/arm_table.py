"""The table of a sweep: which run stands how, with which result, where."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from camoe.sweeping.arm_status import ArmStatus
from camoe.tracking.shown_path import shown_path

STYLES = {"finished": "green", "failed": "red", "killed": "yellow", "running": "cyan", "starting": "cyan"}
PLAIN_WIDTH = 180  # columns where the output is no terminal, so that folders stay whole


def sweep_console() -> Console:
    """Where tables and lines of a sweep go."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def print_table(console: Console, sweep: str, metric: str, runs: Sequence[ArmStatus]) -> None:
    """Arm, seed, status, primary metric, tokens/s, folder and the first line of the error of every run."""
    table = Table(title=f"sweep {sweep}: {counts(runs)}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name, right in (("arm", False), ("seed", True), ("status", False), (metric, True), ("tokens/s", True)):
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    table.add_column("folder", overflow="fold")
    if any(run.error for run in runs):
        table.add_column("error", overflow="fold")
    for run in runs:
        table.add_row(*_cells(run)[: len(table.columns)])
    console.print(table)


def counts(runs: Sequence[ArmStatus]) -> str:
    """Such as: 3 finished, 1 failed."""
    return ", ".join(f"{number} {state}" for state, number in Counter(run.state for run in runs).items())


def described(run: ArmStatus) -> str:
    """State and, while it runs, step and time left."""
    progress = run.progress
    if run.state != "running" or progress is None:
        return run.state
    left = "" if progress.seconds_left is None else f", {timedelta(seconds=round(progress.seconds_left))} left"
    return f"running {progress.step}/{progress.total_steps}{left}"


def number(value: float, form: str) -> str:
    """Formatted, or a dash where there is none."""
    return "-" if math.isnan(value) else format(value, form)


def _cells(run: ArmStatus) -> list[Text]:
    progress = run.progress
    return [
        Text(run.planned.arm),
        Text(str(run.planned.seed)),
        Text(described(run), style=STYLES.get(run.state, "")),
        Text(number(progress.value, ".4f") if progress else "-"),
        Text(number(progress.tokens_per_s, ",.0f") if progress else "-"),
        Text(str(shown_path(run.folder)) if run.folder else "-"),
        Text(run.error),
    ]
