"""What was prepared, in a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

SHOWN_DOMAINS = 12


def prepared_table(prepared: Mapping[str, Mapping[str, Any]]) -> Table:
    """A column for each part of each data profile. Lengths are tokens of a document, or of a row of a dialogue."""
    table = Table("")
    columns = []
    for profile, statistics in prepared.items():
        for part in ("train", "valid"):
            table.add_column(f"{profile} {part}", justify="right")
            columns.append(_cells(statistics[part]))
    for title in columns[0]:
        table.add_row(title, *(column[title] for column in columns))
    return table


def shares(part: Mapping[str, Any]) -> str:
    """'fineweb_edu 70.0 %, cosmopedia 30.0 %' of the bytes; the largest dozen, '' where there is one domain."""
    domains: dict[str, int] = part["bytes_by_domain"]
    largest = sorted(domains.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_DOMAINS]
    total = sum(domains.values())
    return ", ".join(f"{name} {100 * size / total:.1f} %" for name, size in largest) if len(domains) > 1 else ""


def _cells(part: Mapping[str, Any]) -> dict[str, str]:
    """Documents of text, items (dialogues or pairs) of answers."""
    lengths = part.get("document_tokens") or part["row_tokens"]
    return {
        "documents or items": f"{part.get('documents', part.get('items')):,}",
        "tokens": f"{part['tokens']:,}",
        "UTF-8 bytes": f"{part['bytes']:,}",
        "bytes per token": f"{part['bytes_per_token']:.3f}",
        "shortest, tokens": f"{lengths['p0']:,.0f}",
        "5 % quantile": f"{lengths['p5']:,.0f}",
        "median": f"{lengths['p50']:,.0f}",
        "95 % quantile": f"{lengths['p95']:,.0f}",
        "longest": f"{lengths['p100']:,.0f}",
        "broken dropped": f"{part.get('broken_dropped', 0):,}",
        "duplicates dropped": f"{part['duplicates_dropped'] + part.get('held_out_copies_dropped', 0):,}",
    }
