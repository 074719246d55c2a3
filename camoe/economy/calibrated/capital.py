"""(7) From merit to wealth. All functions keep the sum of a layer's capital."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.calibrated import CapitalConfig
from camoe.economy.calibrated.rates import quotient, rate

TYPICAL_QUANTILE = 0.9
LEAST_RELATIVE_WEALTH = 1e-9


def log_taxed(capital: Tensor, tokens: Tensor, half_life: Tensor | float) -> Tensor:
    """Capital [L,E] after the tax on log wealth: log C_e moves towards log of the mean by the share r_N(H_tax).

    Its marginal rate grows with wealth, and it pays the poor.
    """
    remaining = 1 - rate(tokens, half_life)
    return _like(capital, torch.softmax(remaining * capital.log(), dim=-1))


def grown(capital: Tensor, merit: Tensor, gain: Tensor, tokens: Tensor, half_life: float) -> Tensor:
    """Capital [L,E] after multiplicative weights: C_e exp(G r_N(H_cap) pi_e), renormalised (Hedge)."""
    return _like(capital, torch.softmax(capital.log() + gain * rate(tokens, half_life) * merit, dim=-1))


def added(capital: Tensor, merit: Tensor, gain: Tensor, tokens: Tensor, half_life: float) -> Tensor:
    """Capital [L,E] after additive profit: C_e + G r_N(H_cap) mean(C) (pi_e - mean pi); who owes loses everything."""
    mean = capital.mean(-1, keepdim=True)
    profit = gain * rate(tokens, half_life) * mean * (merit - merit.mean(-1, keepdim=True))
    left = torch.maximum(capital + profit, LEAST_RELATIVE_WEALTH * mean)
    return _like(capital, left / left.sum(-1, keepdim=True))


def gain(score: Tensor, config: CapitalConfig) -> Tensor:
    """G, [L,1]: the set one, or such that the 90th percentile of |log(E c_e)| settles at 1 where merit is reliable.

    Under constant merit log(E c_e) settles at G pi_e H_tax / H_cap. score [L,E]: merit before it is shrunk, so that the
    gain does not undo the shrinking.
    """
    if config.gain is not None:
        return torch.full_like(score[:, :1], config.gain)
    typical = score.abs().quantile(TYPICAL_QUANTILE, dim=-1, keepdim=True)
    automatic = quotient(torch.full_like(typical, config.half_life / config.tax_half_life), typical)
    return automatic.clamp(max=config.gain_max)


def _like(capital: Tensor, share: Tensor) -> Tensor:
    return share * capital.sum(-1, keepdim=True)
