"""(17) Double-entry bookkeeping of one settlement: every transfer has a source, a target and a reason."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.economy.calibrated.rates import quotient
from camoe.economy.calibrated.state import CalibratedState
from camoe.economy.ledger import BANK, EXPERTS, TREASURY, VENTURES, LedgerRow


class Books:
    """Accounts of all layers while they are settled: experts' capital [L,E], treasury [L], the venture book [L,E].

    Only the bank creates or destroys money. Amounts are [L,E], money, and at least 0.
    """

    def __init__(self, state: CalibratedState) -> None:
        self.opening = state.money()
        self.capital, self.treasury, self.grants = state.capital.clone(), state.treasury.clone(), state.grants.clone()
        self.minted, self.burned = torch.zeros_like(self.treasury), torch.zeros_like(self.treasury)
        self.rows: list[LedgerRow] = []

    def redistribute(self, reason: str, capital: Tensor) -> None:
        """Experts pay each other until they own `capital`, whose sum is what they own now."""
        self._write(EXPERTS, EXPERTS, (capital - self.capital).abs() / 2, reason)
        self.capital = capital

    def collect(self, reason: str, amount: Tensor) -> None:
        """Experts pay the treasury."""
        self._write(EXPERTS, TREASURY, amount, reason)
        self.capital, self.treasury = self.capital - amount, self.treasury + amount.sum(-1)

    def grant(self, reason: str, amount: Tensor) -> None:
        """The treasury pays into the venture book."""
        self._write(TREASURY, VENTURES, amount, reason)
        self.treasury, self.grants = self.treasury - amount.sum(-1), self.grants + amount

    def vest(self, reason: str, amount: Tensor) -> None:
        """The venture book pays experts."""
        self._write(VENTURES, EXPERTS, amount, reason)
        self.grants, self.capital = self.grants - amount, self.capital + amount

    def mint(self, reason: str, amount: Tensor) -> None:
        """The bank gives experts new money."""
        self._write(BANK, EXPERTS, amount, reason)
        self.capital, self.minted = self.capital + amount, self.minted + amount.sum(-1)

    def burn(self, reason: str, amount: Tensor) -> None:
        """The bank destroys experts' money."""
        self._write(EXPERTS, BANK, amount, reason)
        self.capital, self.burned = self.capital - amount, self.burned + amount.sum(-1)

    def void(self, when: Tensor, state: CalibratedState) -> None:
        """Undo the whole settlement where `when` [] is true: every account as `state` still has it."""
        self.capital = torch.where(when, state.capital, self.capital)
        self.treasury = torch.where(when, state.treasury, self.treasury)
        self.grants = torch.where(when, state.grants, self.grants)
        self.minted, self.burned = torch.where(when, 0, self.minted), torch.where(when, 0, self.burned)
        self.rows = [row._replace(amount=torch.where(when, 0, row.amount)) for row in self.rows]

    def money(self) -> Tensor:
        """[L], all money of a layer."""
        return self.capital.sum(-1) + self.treasury + self.grants.sum(-1)

    def residual(self) -> Tensor:
        """[L], what the bank's money fails to explain of the change of all money, as a share of it; rounding only."""
        return quotient(self.money() - self.opening - self.minted + self.burned, self.opening)

    def close(self, state: CalibratedState) -> None:
        """Write the accounts into `state`."""
        state.capital.copy_(self.capital)
        state.treasury.copy_(self.treasury)
        state.grants.copy_(self.grants)
        state.minted.add_(self.minted)
        state.burned.add_(self.burned)

    def _write(self, source: str, target: str, amount: Tensor, reason: str) -> None:
        self.rows.append(LedgerRow(source, target, amount.sum(-1), reason))
