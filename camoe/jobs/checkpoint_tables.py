"""The findings of job=checkpoint as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from camoe.tracking.short_number import short_number

SHOWN = 12  # tensors that differ most, settings


def inspection_tables(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Where the run stood, sizes by group and room, the market by layer, and what does not fit."""
    yield Text(
        f"step {report['step']} of {report['total_steps']}, phase {report['phase']}, "
        f"{report['tokens_seen']:,} tokens seen, {report['skipped_steps']} steps skipped"
    )
    yield _table(
        ("file", "bytes"), ([f"{name}.safetensors", f"{size:,}"] for name, size in report["files"].items() if size)
    )
    for what in ("groups", "rooms"):
        yield _table((what, "tensors", "numbers", "bytes", "norm", "not finite"), _holding_rows(report[what]))
    if report["market"]:
        yield _market_table(report["market"])
    words = report["vocabulary"]
    rows = ", ".join(f"{name} {words[name]:,}" for name in ("emb", "head") if name in words)
    verdict = "fits" if words["agrees"] else "does NOT fit"
    yield Text(f"vocabulary {verdict}: rows of {rows}; tokenizer.vocab_size {words['tokenizer.vocab_size']:,}")
    yield from (Text(f"does not fit: {line}", style="bold red") for line in report["misfits"])


def comparison_tables(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Settings, rooms, and the tensors that differ most."""
    settings, tensors = found["settings"], found["tensors"]
    differing = {name: values for name, values in tensors.items() if values.get("largest", 1)}
    yield Text(f"{len(differing)} of {len(tensors)} tensors differ, and {len(settings)} settings")
    if settings:
        yield _table(("setting", "this", "other"), ([name, *map(str, pair)] for name, pair in settings.items()))
    headers = ("largest", "relative")
    yield _table(("room", *headers), _difference_rows(found["rooms"]))
    yield _table(("tensor", *headers), _difference_rows(dict(list(differing.items())[:SHOWN])))


def _holding_rows(holdings: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    for name, held in holdings.items():
        yield [
            name,
            str(held["tensors"]),
            short_number(held["numbers"]),
            short_number(held["bytes"]),
            f"{held['norm']:.4g}",
            str(held["non_finite"] or ""),
        ]


def _market_table(market: Mapping[str, Any]) -> Table:
    others = [name for name in market if name != "capital_share"]
    return _table(
        ("layer", "share of capital", *others),
        (
            [
                str(layer),
                " ".join(f"{share:.3f}" for share in shares),
                *(f"{market[name][layer]:.4g}" for name in others),
            ]
            for layer, shares in enumerate(market["capital_share"])
        ),
    )


def _difference_rows(differences: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    for name, found in differences.items():
        if "shapes" in found:
            yield [name, *(str(shape or "-") for shape in found["shapes"])]
        else:
            yield [name, f"{found['largest']:.4g}", f"{found['relative']:.4g}"]


def _table(headers: tuple[str, ...], rows: Iterator[list[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="grey58")
    for index, header in enumerate(headers):
        table.add_column(header, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
