"""A run folder whose ledger was written by hand: two layers, three log windows, every kind of transfer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ACCOUNTS = ("experts", "treasury", "critics")
WINDOWS: list[dict[tuple[str, str, str], list[float]]] = [
    {
        ("experts", "experts", "profit"): [3.0, 5.0],
        ("experts", "treasury", "wealth_tax"): [0.0, 0.0],
        ("bank", "experts", "qe"): [0.5, 0.0],
        ("clearing", "critics", "critic_score"): [0.0, 0.25],
    },
    {
        ("experts", "experts", "profit"): [1.0, 0.0],
        ("experts", "treasury", "wealth_tax"): [2.0, 1.0],
        ("critics", "clearing", "critic_score"): [0.0, 0.5],
    },
    {("experts", "treasury", "wealth_tax"): [0.5, 0.25]},
]
TOKENS = (1000, 2000, 3000)
FIRST = {"experts": [4.0, 4.0], "treasury": [0.0, 0.0], "critics": [1.0, 1.0]}


def records() -> list[dict[str, Any]]:
    """What ledger.jsonl holds."""
    balances, found = FIRST, []
    for step, (tokens, rows) in enumerate(zip(TOKENS, WINDOWS, strict=True), start=1):
        closing = {account: list(values) for account, values in balances.items()}
        for (source, target, _), amounts in rows.items():
            for layer, amount in enumerate(amounts):
                if target in closing:
                    closing[target][layer] += amount
                if source in closing:
                    closing[source][layer] -= amount
        listed = [{"from": s, "to": t, "reason": r, "amount": a} for (s, t, r), a in rows.items()]
        books = {"settlements": 1, "opening": balances, "closing": closing, "rows": listed}
        found.append({"step": step, "tokens_seen": tokens, **books})
        balances = closing
    return found


def run_folder(root: Path, ledger: list[dict[str, Any]]) -> Path:
    """The files that a reader looks at, and no others."""
    folder = root / "12-00-00-camoe-0123456789"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: camoe\n")
    (folder / "provenance.json").write_text("{}")
    (folder / "ledger.jsonl").write_text("".join(json.dumps(record) + "\n" for record in ledger))
    return folder
