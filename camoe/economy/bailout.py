"""A critic's purse, its debts and its rescue.

All amounts are [L] in purse money, positive in the direction of their name.
"""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.economy import V21Config

LEAST_PURSE = 100.0
LARGEST_PURSE_RATIO = 3.0
REPAYMENT_RESERVE_RATIO = 0.2


def clamped_purse(purse: Tensor, init_capital: float) -> Tensor:
    """clip(K, 100, 3 K0) (economy A.8)."""
    return purse.clamp(LEAST_PURSE, LARGEST_PURSE_RATIO * init_capital)


def repayment(purse: Tensor, debt: Tensor, config: V21Config) -> Tensor:
    """clip(repay_ratio * (K - 0.2 K0), 0, debt) (economy A.9)."""
    reserve = REPAYMENT_RESERVE_RATIO * config.critic.init_capital
    return torch.minimum(config.repay_ratio * (purse - reserve).clamp(min=0), debt)


def is_bankrupt(purse: Tensor, config: V21Config) -> Tensor:
    """K < critic_bankrupt_threshold_ratio * K0, [L] bool (economy A.9)."""
    return purse < config.critic_bankrupt_threshold_ratio * config.critic.init_capital


def bailout(bankrupt: Tensor, bailout_count: Tensor, config: V21Config) -> Tensor:
    """max(bailout_min, bailout_base * bailout_decay^count) for the bankrupt, 0 for the others (economy A.9)."""
    size = config.bailout_base * config.bailout_decay**bailout_count
    return size.clamp(min=config.bailout_min) * bankrupt
