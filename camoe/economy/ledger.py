"""Double-entry bookkeeping of one settlement: every change of an account has a name."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

EXPERTS, TREASURY, VENTURES, CRITICS = "experts", "treasury", "ventures", "critics"
"""Accounts that hold money."""
BANK, CLEARING, RESCUE = "bank", "clearing", "rescue"
"""Where money comes from and goes to: created and destroyed, earned and lost, lent to critics and repaid."""


class LedgerRow(NamedTuple):
    """One kind of transfer of a settlement, added up over a layer's experts."""

    source: str
    """Account that paid."""
    target: str
    """Account that received."""
    amount: Tensor
    """[L], at least 0, money; of critics' accounts, purse money."""
    reason: str


class Ledger:
    """Accounts of every layer, [L,E] (experts' capital) or [L] (critics' purses), in float64.

    The books close when opening + credits - debits equals the capital that is kept, summed over a layer's accounts.
    `flows` are the named amounts [L], `turnover` the sums of their magnitudes [L].
    """

    def __init__(self, opening: Tensor) -> None:
        self.balance = opening.double()
        self.flows: dict[str, Tensor] = {}
        self.turnover: dict[str, Tensor] = {}
        self._expected = _per_layer(self.balance)

    def credit(self, name: str, amount: Tensor) -> None:
        """Money that enters the accounts under a name; negative amounts leave."""
        self._book(name, amount, amount)

    def debit(self, name: str, amount: Tensor) -> None:
        """Money that leaves the accounts under a name; the flow is reported with its positive sign."""
        self._book(name, amount, -amount)

    def residual(self, kept: Tensor) -> Tensor:
        """What the named flows fail to explain of the capital kept, [L]; rounding only, when the books close."""
        return _per_layer(kept.double()) - self._expected

    def _book(self, name: str, amount: Tensor, change: Tensor) -> None:
        self.balance = self.balance + change
        self.flows[name] = _per_layer(amount)
        self.turnover[name] = _per_layer(amount.abs())
        self._expected = self._expected + _per_layer(change)


def either_way(outside: str, account: str, net: Tensor, reason: str) -> tuple[LedgerRow, LedgerRow]:
    """What an account got from outside or, where `net` [L] is negative, gave: amounts are never negative."""
    return (
        LedgerRow(outside, account, net.clamp(min=0), reason),
        LedgerRow(account, outside, (-net).clamp(min=0), reason),
    )


def _per_layer(accounts: Tensor) -> Tensor:
    return accounts.reshape(accounts.shape[0], -1).sum(-1)
