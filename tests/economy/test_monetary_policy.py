"""When the bank acts, how much it moves and to whom."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from camoe.config.economy import V18Config, V21Config
from camoe.economy import monetary_policy

V21 = V21Config(total_capital=1000.0, qe_floor_alloc_ratio=0.7, qe_inject_ratio=0.1, qe_drain_ratio=0.5)
V18 = V18Config(total_capital=1000.0)


def row(*capital: float) -> Tensor:
    return torch.tensor([capital], dtype=torch.float64)


def test_easing_fills_gaps_first() -> None:
    # 600 short of 1000: 60 injected, 42 of it to the gaps 10 and 20 below a floor of 30, 18 evenly
    injected = monetary_policy.quantitative_easing(row(10, 20, 370), 30.0, V21)
    torch.testing.assert_close(injected, row(28 + 6, 14 + 6, 6), rtol=1e-6, atol=0)


def test_easing_without_gaps_is_even() -> None:
    injected = monetary_policy.quantitative_easing(row(100, 200, 100), 30.0, V21)
    torch.testing.assert_close(injected, row(20, 20, 20))


def test_tightening_is_proportional() -> None:
    drained = monetary_policy.quantitative_tightening(row(1500, 500), V21)
    torch.testing.assert_close(drained, row(375, 125), rtol=1e-6, atol=0)


@pytest.mark.parametrize("money", [850.0, 1000.0, 1200.0])
def test_bank_rests_inside_its_band(money: float) -> None:
    capital = row(money / 2, money / 2)
    assert monetary_policy.quantitative_easing(capital, 500.0, V21).count_nonzero() == 0
    assert monetary_policy.quantitative_tightening(capital, V21).count_nonzero() == 0


def test_each_layer_is_judged_alone() -> None:
    capital = torch.cat([row(100, 100), row(500, 500), row(2000, 2000)])
    assert monetary_policy.quantitative_easing(capital, 30.0, V21).any(-1).tolist() == [True, False, False]
    assert monetary_policy.quantitative_tightening(capital, V21).any(-1).tolist() == [False, False, True]


def test_v18_scales_back_and_lifts() -> None:
    torch.testing.assert_close(monetary_policy.shrinkage(row(1000, 600), V18), row(50, 30))
    torch.testing.assert_close(monetary_policy.lift(row(200, 100), V18), row(10, 10))
    for capital in (row(900, 600), row(400, 100)):
        assert monetary_policy.shrinkage(capital, V18).count_nonzero() == 0
        assert monetary_policy.lift(capital, V18).count_nonzero() == 0
