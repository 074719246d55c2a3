"""A row of numbers, each above its name."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text


def named_values(values: Mapping[str, str]) -> Table:
    """Values side by side over the width of the page."""
    grid = Table.grid(expand=True)
    for _ in values:
        grid.add_column(justify="center")
    grid.add_row(*(Text(value, style="bold") for value in values.values()))
    grid.add_row(*(Text(name, style="grey58") for name in values))
    return grid
