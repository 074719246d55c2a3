"""What experts earn and what the state takes: profit, taxes, depreciation, floor.

All capitals are [L,E] in units of the layer's money M; amounts are positive in the direction of their name.
"""

from __future__ import annotations

from torch import Tensor


def expert_profit(served: Tensor, charged: Tensor, baseline: Tensor) -> Tensor:
    """Profit [L,E] = sum over tokens won of (baseline - l_t - price_t), nats times tokens (economy A.2).

    From tokens won [L,E], the sum of l_t + price_t over them [L,E] and the new baseline [L].
    """
    return served * baseline.unsqueeze(-1) - charged


def wealth_tax(capital: Tensor, *, threshold: float, rate: float, tax_negative_wealth: bool) -> Tensor:
    """rate * max(0, C_e - threshold * mean C), [L,E] (economy A.3).

    Nobody below zero pays, unless `tax_negative_wealth`: as published, in a layer whose mean is negative the threshold
    lies below the mean, so that debtors are taxed as well.
    """
    mean = capital.mean(-1, keepdim=True)
    if not tax_negative_wealth:
        mean = mean.clamp(min=0)
    return rate * (capital - threshold * mean).clamp(min=0)


def idle_tax(capital: Tensor, selection_ema: Tensor, *, threshold: float, rate: float) -> Tensor:
    """rate * C_e where the moving average of the selected share is below the threshold, [L,E] (economy A.4)."""
    return rate * capital * (selection_ema < threshold)


def depreciation(capital: Tensor, rate: float) -> Tensor:
    """rate * C_e, [L,E] (economy A.4)."""
    return rate * capital


def capital_floor(total_capital: float, n_expert: int, share: float) -> float:
    """F = M / E * share, money (economy A.5)."""
    return total_capital / n_expert * share


def floor_mint(capital: Tensor, floor: float) -> Tensor:
    """Money created to lift everyone to the floor, [L,E]: max(0, F - C_e) (economy A.5)."""
    return (floor - capital).clamp(min=0)
