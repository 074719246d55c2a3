"""(12) The central bank: keeps the spread of wealth within bounds of entropy. Shares move through QE only."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from camoe.config.calibrated import BankConfig
from camoe.economy.calibrated.rates import rate

BISECTIONS = 50


def relative_entropy(share: Tensor) -> Tensor:
    """H(c) / log E, [L]: 1 for equal wealth."""
    return torch.special.entr(share).sum(-1) / math.log(share.shape[-1])


def mixing_share(share: Tensor, entropy_min: float) -> Tensor:
    """The smallest r [L,1] for which (1-r) c + r/E has the entropy wanted; 0 where c has it. By bisection."""
    low, high = torch.zeros_like(share[:, :1]), torch.ones_like(share[:, :1])
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = relative_entropy(mixed(share, middle)).unsqueeze(-1) >= entropy_min
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return torch.where(relative_entropy(share).unsqueeze(-1) >= entropy_min, 0, high)


def mixed(share: Tensor, r: Tensor) -> Tensor:
    """(1-r) c + r/E."""
    return (1 - r) * share + r / share.shape[-1]


def new_money(capital: Tensor, r: Tensor) -> Tensor:
    """Equal gifts [L,E] of r/(1-r) sum C in all, after which shares are mixed by r; QE with elastic money."""
    return (r / (1 - r) * capital.sum(-1, keepdim=True) / capital.shape[-1]).expand_as(capital)


def excess_money(capital: Tensor, money: Tensor, first_money: float, tokens: Tensor, half_life: float) -> Tensor:
    """What is burned of elastic money, [L,E], in proportion to wealth: r_N of the money beyond the first, [L]."""
    excess = (rate(tokens, half_life) * (money - first_money)).clamp(min=0).unsqueeze(-1)
    total = capital.sum(-1, keepdim=True)
    return capital * torch.minimum(excess / total, torch.full_like(total, 0.5))


def tax_half_life(share: Tensor, half_life: float, config: BankConfig) -> Tensor:
    """H_tax, [L,1]: relaxed where wealth is nearly equal, so that merit may show (QT)."""
    if config.kind == "none":
        return torch.full_like(share[:, :1], half_life)
    relaxed = relative_entropy(share).unsqueeze(-1) > config.entropy_max
    return half_life * torch.where(relaxed, config.relaxation, 1.0)
