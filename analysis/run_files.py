"""The files of a run folder as pandas frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from camoe.config import ConfigError
from camoe.config.refusal import refused_as
from camoe.tracking.metrics_log import read_metrics
from camoe.tracking.run_folder import RunFolder

NOTHING_BOOKED = "the market has settled nothing yet, or this economy keeps no rows (economy=off, ledger: totals)"


@dataclass(frozen=True)
class LedgerFile:
    """ledger.jsonl of one run, one log window after the other.

    balances: window, step, tokens (both at the window's end), layer, account, opening, closing.
    entries: window, tokens, layer, source, target, reason, amount, in the order of a settlement.
    """

    name: str
    balances: pd.DataFrame
    entries: pd.DataFrame


def read_ledger(path: Path) -> LedgerFile:
    """The ledger of a run folder, finished or not; ConfigError when it holds none."""
    folder = RunFolder.open(path)
    with refused_as(f"{folder.ledger_file}: holds lines that are no window of a ledger"):
        records = read_metrics(folder.ledger_file) if folder.ledger_file.is_file() else []
        if not records:
            raise ConfigError(f"{folder.ledger_file}: empty; {NOTHING_BOOKED}")
        balances, entries = pd.DataFrame(_balances(records)), pd.DataFrame(_entries(records), columns=list(_ENTRY))
    return LedgerFile(folder.path.name, balances, entries)


_ENTRY = ("window", "tokens", "layer", "source", "target", "reason", "amount")


def _balances(records: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for window, record in enumerate(records):
        for account, opening in record["opening"].items():
            for layer, (first, last) in enumerate(zip(opening, record["closing"][account], strict=True)):
                yield {
                    "window": window,
                    "step": record["step"],
                    "tokens": record["tokens_seen"],
                    "layer": layer,
                    "account": account,
                    "opening": first,
                    "closing": last,
                }


def _entries(records: list[dict[str, Any]]) -> Iterable[tuple[Any, ...]]:
    for window, record in enumerate(records):
        for row in record["rows"]:
            for layer, amount in enumerate(row["amount"]):
                yield window, record["tokens_seen"], layer, row["from"], row["to"], row["reason"], amount
