"""Taxes and the floor by hand."""

from __future__ import annotations

import torch

from camoe.economy import fiscal_policy


def tax(capital: list[float], negative: bool = False) -> list[float]:
    amounts = fiscal_policy.wealth_tax(torch.tensor([capital]), threshold=1.5, rate=0.2, tax_negative_wealth=negative)
    return amounts[0].tolist()


def test_wealth_tax_takes_a_share_of_the_excess() -> None:
    assert tax([100.0, 100.0, 400.0]) == [0.0, 0.0, 20.0]


def test_debtors_pay_no_wealth_tax_unless_asked() -> None:
    # mean -100: the published threshold is -150, and both debtors above it pay
    assert tax([-140.0, -200.0, 40.0]) == [0.0, 0.0, 8.0]
    assert tax([-140.0, -200.0, 40.0], negative=True) == [2.0, 0.0, 38.0]


def test_idle_tax_falls_on_the_unselected() -> None:
    capital, selection = torch.tensor([[100.0, 200.0]]), torch.tensor([[0.005, 0.02]])
    idle = fiscal_policy.idle_tax(capital, selection, threshold=0.01, rate=0.02)
    torch.testing.assert_close(idle, torch.tensor([[2.0, 0.0]]))


def test_floor_lifts_only_those_below() -> None:
    floor = fiscal_policy.capital_floor(1000.0, 4, 0.08)
    assert floor == 20.0
    assert fiscal_policy.floor_mint(torch.tensor([[-5.0, 20.0, 30.0]]), floor).tolist() == [[25.0, 0.0, 0.0]]
