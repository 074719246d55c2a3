"""Books close when every change is booked, and only then."""

from __future__ import annotations

import torch

from camoe.economy.ledger import Ledger


def test_flows_and_turnover_per_layer() -> None:
    ledger = Ledger(torch.tensor([[10.0, 20.0], [30.0, 40.0]]))
    ledger.credit("profit", torch.tensor([[5.0, -3.0], [0.0, 1.0]]))
    ledger.debit("tax", torch.tensor([[1.0, 1.0], [2.0, 0.0]]))
    assert ledger.balance.tolist() == [[14.0, 16.0], [28.0, 41.0]]
    assert ledger.flows["profit"].tolist() == [2.0, 1.0]
    assert ledger.turnover["profit"].tolist() == [8.0, 1.0]
    assert ledger.flows["tax"].tolist() == [2.0, 2.0]
    assert ledger.residual(ledger.balance).tolist() == [0.0, 0.0]


def test_money_that_nobody_booked_is_the_residual() -> None:
    ledger = Ledger(torch.tensor([100.0, 200.0]))
    ledger.debit("repay", torch.tensor([10.0, 0.0]))
    assert ledger.residual(torch.tensor([90.0, 207.0])).tolist() == [0.0, 7.0]
