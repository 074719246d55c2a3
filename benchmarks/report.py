"""The table: on the screen, as JSON, and as the generated part of docs/performance.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.table import Table

from benchmarks.result import Must, Result

BLOCK = "measured"
"""Of docs/performance.md."""
COLUMNS = ("row", "must", "reached", "spread", "limit", "measured")
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def as_json(results: Sequence[Result], machine: Mapping[str, str], command: str) -> str:
    """Everything that was measured, every repetition."""
    rows = [{**asdict(result), "verdict": result.verdict} for result in results]
    return json.dumps({"machine": dict(machine), "command": command, "rows": rows}, indent=1)


def as_markdown(results: Sequence[Result], machine: Mapping[str, str], command: str) -> str:
    """The generated part of the page."""
    lines = [f"`{command}`", "", *(f"- {name}: {value}" for name, value in machine.items()), ""]
    lines += [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(cells(result))} |" for result in results]
    return "\n".join(lines)


def cells(result: Result) -> list[str]:
    """One row of the table, by COLUMNS."""
    what = f"`{result.row}` {result.what}"
    must = _must(result.must, result.value.unit if result.value is not None else "")
    if result.value is None:
        return [what, must, f"**{result.verdict}**", "", "", result.reason]
    unit = result.value.unit
    reached = f"{number(result.value.median, unit)} {result.verdict}".strip()
    spread = f"{number(result.value.low, unit)} .. {number(result.value.high, unit)}"
    limit = "" if result.limit is None else number(result.limit, unit)
    figures = [f"{name} {number(sample.median, sample.unit)}" for name, sample in result.figures.items()]
    return [what, must, reached, spread if len(result.value.values) > 1 else "", limit, ", ".join(figures)]


def screen_table(results: Sequence[Result]) -> Table:
    """The same, for a terminal."""
    table = Table()
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    colours = {"met": "green", "missed": "yellow", "failed": "red"}
    for result in results:
        table.add_row(
            *(cell.replace("`", "").replace("**", "") for cell in cells(result)), style=colours.get(result.verdict)
        )
    return table


def number(value: float, unit: str) -> str:
    """A value with its unit, three digits."""
    if unit == "s":
        return _seconds(value)
    if unit == "bytes":
        return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"
    if unit == "share":
        return f"{100 * value:.3g} %"
    if unit == "x":
        return f"{value:.3g}x"
    for factor, prefix in _PREFIXES:
        if value >= 10 * factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".strip()


def _seconds(value: float) -> str:
    for factor, unit in ((1.0, "s"), (1e-3, "ms")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e-6:.3g} us"


def _must(must: Must | None, unit: str) -> str:
    return "" if must is None else f"{'>=' if must.at_least else '<='} {number(must.bound, unit)}"
