"""Purses, repayment and rescue by hand."""

from __future__ import annotations

import torch

from camoe.config.economy import CriticConfig, V21Config
from camoe.economy import bailout

CONFIG = V21Config(
    critic=CriticConfig(init_capital=1000.0), repay_ratio=0.25, bailout_base=500.0, bailout_decay=0.5, bailout_min=100.0
)


def test_purse_stays_in_bounds() -> None:
    assert bailout.clamped_purse(torch.tensor([-50.0, 500.0, 9000.0]), 1000.0).tolist() == [100.0, 500.0, 3000.0]


def test_repayment_leaves_the_reserve_and_never_exceeds_the_debt() -> None:
    purse, debt = torch.tensor([150.0, 1000.0, 1000.0, 1000.0]), torch.tensor([300.0, 300.0, 50.0, 0.0])
    assert bailout.repayment(purse, debt, CONFIG).tolist() == [0.0, 200.0, 50.0, 0.0]


def test_bailouts_shrink_to_a_minimum_and_only_reach_the_bankrupt() -> None:
    bankrupt = bailout.is_bankrupt(torch.tensor([199.0, 199.0, 199.0, 200.0]), CONFIG)
    assert bankrupt.tolist() == [True, True, True, False]
    count = torch.tensor([0.0, 2.0, 9.0, 0.0])
    assert bailout.bailout(bankrupt, count, CONFIG).tolist() == [500.0, 125.0, 100.0, 0.0]
