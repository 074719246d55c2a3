"""What the settlements of one log window booked, added up: one record of ledger.jsonl."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from camoe.economy.market_report import MarketReport

Accounts = Callable[[], dict[str, Tensor]]
"""What every account holds now, each [L]."""


class LedgerWindow:
    """Adds up rows with the same source, target and reason until `reset`; opening balances are read, not inferred.

    A record holds `opening` and `closing` (account -> [L]), the number of `settlements`, and `rows` with `from`, `to`,
    `reason` and `amount` [L], in the order of a settlement: so opening + what came - what went = closing can be checked
    from the file alone, per layer and account. That every single settlement closes is in `market/ledger_residual`.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.reset()

    def reset(self) -> None:
        """A new window begins, with what the accounts hold now."""
        self._opening = _copies(self._accounts())
        self._amounts: dict[tuple[str, str, str], Tensor] = {}
        self._settlements = 0

    @torch.no_grad()
    def add(self, report: MarketReport) -> None:
        """Add one settlement; one without rows books nothing. Nothing is read back from the device."""
        if not report.rows:
            return
        self._settlements += 1
        for source, target, amount, reason in report.rows:
            key, amount = (source, target, reason), amount.double()
            self._amounts[key] = self._amounts[key] + amount if key in self._amounts else amount.clone()

    def record(self) -> dict[str, Any] | None:
        """The window so far; None without a settlement."""
        if not self._settlements:
            return None
        closing = _lists(self._accounts())
        return {
            "settlements": self._settlements,
            "opening": {account: self._opening[account].tolist() for account in closing},
            "closing": closing,
            "rows": [
                {"from": source, "to": target, "reason": reason, "amount": amount.tolist()}
                for (source, target, reason), amount in self._amounts.items()
            ],
        }

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint in the middle of a window."""
        opening = {f"opening.{account}": balance for account, balance in self._opening.items()}
        rows = enumerate(self._amounts.items())  # numbered, since checkpoints do not keep order
        amounts = {f"row.{number:03d}.{'.'.join(key)}": amount for number, (key, amount) in rows}
        return {**opening, **amounts, "settlements": torch.tensor(self._settlements)}

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Go on from `state()`."""
        self._opening, self._amounts, self._settlements = {}, {}, int(state["settlements"])
        for name, value in sorted(state.items()):
            part, _, rest = name.partition(".")
            if part == "opening":
                self._opening[rest] = value.to(device)
            elif part == "row":
                _, source, target, reason = rest.split(".")
                self._amounts[source, target, reason] = value.to(device)


def _copies(accounts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {account: balance.detach().double().clone() for account, balance in accounts.items()}


def _lists(accounts: Mapping[str, Tensor]) -> dict[str, list[float]]:
    return {account: balance.double().tolist() for account, balance in accounts.items()}
