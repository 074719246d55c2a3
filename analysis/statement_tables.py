"""A statement on the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from analysis.ledger_statement import ABOUT, CLOSING, OPENING, WITHIN, Statement
from camoe.tracking.short_number import short_number

SIGNIFICANT = 6  # digits of the largest balance


def statement_page(statement: Statement) -> RenderableType:
    """A table per account, one of what experts moved among themselves, one by layer, and how well the books close."""
    parts: list[RenderableType] = [Rule(f"Statement of {statement.title}", style="grey50")]
    for account, frame in statement.accounts.items():
        parts.append(_headed(account, ABOUT.get(account, ""), _table(frame, "tokens", short_number)))
    if len(statement.within.columns):
        parts.append(_headed("within", WITHIN, _turnover(statement.within)))
    if statement.layer is None and "experts" in statement.by_layer:
        layers = _table(statement.by_layer["experts"], "layer", lambda layer: f"L{layer:02.0f}")
        parts.append(_headed("experts by layer", "the whole run", layers))
    parts.append(_closing_line(statement))
    return Group(*(Padding(part, (0, 0, 1, 0)) for part in parts))


def _headed(name: str, remark: str, table: Table) -> Group:
    return Group(Text(name, style="bold").append(f"  {remark}", style="not bold grey58"), table)


def _table(frame: pd.DataFrame, index_name: str, shown: Callable[[Any], str]) -> Table:
    digits = _decimals(frame[[OPENING, CLOSING]].abs().to_numpy().max())
    table = _columns(index_name, list(frame.columns))
    for index, row in frame.iterrows():
        table.add_row(shown(index), *_cells(row, digits))
    total = frame.sum()
    if index_name == "tokens":  # periods follow each other; layers stand side by side
        total[OPENING], total[CLOSING] = frame[OPENING].iloc[0], frame[CLOSING].iloc[-1]
    table.add_section()
    table.add_row("all", *_cells(total, digits), style="bold")
    return table


def _turnover(frame: pd.DataFrame) -> Table:
    digits = _decimals(float(frame.to_numpy().max()))
    table = _columns("tokens", list(frame.columns))
    for index, row in frame.iterrows():
        table.add_row(short_number(float(str(index))), *(_plain(value, digits) for value in row))
    table.add_section()
    table.add_row("all", *(_plain(value, digits) for value in frame.sum()), style="bold")
    return table


def _columns(index_name: str, names: list[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="grey58", pad_edge=False, padding=(0, 1))
    for name in (index_name, *names):
        table.add_column(name.replace("_", " "), justify="right")
    return table


def _cells(row: pd.Series, digits: int) -> list[str]:
    return [
        _plain(value, digits) if name in (OPENING, CLOSING) else _signed(value, digits) for name, value in row.items()
    ]


def _plain(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}" if abs(value) > 10.0**-digits / 2 else "-"


def _signed(value: float, digits: int) -> str:
    return f"{value:+,.{digits}f}" if abs(value) > 10.0**-digits / 2 else "-"


def _decimals(largest: float) -> int:
    return max(0, SIGNIFICANT - 1 - math.floor(math.log10(largest))) if largest > 0 else 0


def _closing_line(statement: Statement) -> Text:
    worst = max(statement.unexplained.values(), default=0.0)
    return Text(f"opening + entries = closing in every log window and layer, to {worst:.0e} of the balance", "grey58")
