"""The central bank: keeps the sum of a layer's capital near its money M.

All capitals are [L,E]; every function returns amounts [L,E] and decides from the capital it is given.
"""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.economy import V18Config, V21Config
from camoe.economy.arithmetic import ratio


def quantitative_easing(capital: Tensor, floor: float, config: V21Config) -> Tensor:
    """Money injected while sum C < qe_low_ratio * M: qe_inject_ratio of the shortfall to M (economy A.5).

    qe_floor_alloc_ratio of it fills gaps below the floor in proportion, evenly where there is none; the rest is even.
    """
    money = capital.sum(-1, keepdim=True)
    shortfall = (config.total_capital - money).clamp(min=0)
    injection = config.qe_inject_ratio * shortfall * (money < config.qe_low_ratio * config.total_capital)
    gap = (floor - capital).clamp(min=0)
    total_gap = gap.sum(-1, keepdim=True)
    even = torch.full_like(capital, 1 / capital.shape[-1])
    fill = torch.where(total_gap > 0, ratio(gap, total_gap), even)
    return injection * (config.qe_floor_alloc_ratio * fill + (1 - config.qe_floor_alloc_ratio) * even)


def quantitative_tightening(capital: Tensor, config: V21Config) -> Tensor:
    """Money drained while sum C > qe_high_ratio * M: qe_drain_ratio of the excess, in proportion to C (economy A.5)."""
    money = capital.sum(-1, keepdim=True)
    excess = (money - config.total_capital) * (money > config.qe_high_ratio * config.total_capital)
    return config.qe_drain_ratio * excess * ratio(capital, money.clamp(min=0))


def shrinkage(capital: Tensor, config: V18Config) -> Tensor:
    """v18: what everyone loses in proportion while sum C > high_ratio * M (economy A.11)."""
    too_much = capital.sum(-1, keepdim=True) > config.high_ratio * config.total_capital
    return (1 - config.shrink) * capital * too_much


def lift(capital: Tensor, config: V18Config) -> Tensor:
    """v18: what everyone is given while sum C < low_ratio * M, lift * M each (economy A.11)."""
    too_little = capital.sum(-1, keepdim=True) < config.low_ratio * config.total_capital
    return torch.full_like(capital, config.lift * config.total_capital) * too_little
