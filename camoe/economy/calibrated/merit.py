"""(6) Merit: an expert's profit per token served, against the spread between experts and its own uncertainty."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from camoe.economy.calibrated.rates import quotient

LARGEST_MERIT = 1.0


class Profit(NamedTuple):
    """What the horizon says of every expert, [L,E]."""

    value: Tensor
    """V_e, nats per served token, 0 where nothing was served."""
    rate: Tensor
    """Pi_e, nats per served token beyond the layer's mean; sum_e n_e Pi_e = 0 as n_0 -> 0."""
    error: Tensor
    """se_e, standard error of Pi_e, nats per served token."""
    deviation: Tensor
    """[L,E], sqrt(var_e'(Pi_e') + se_e^2)."""


def profit(credit: Tensor, squares: Tensor, prior_tokens: float) -> Profit:
    """From the running sums `CreditSums.credit` [2,L,E] and `.squares` [3,L,E]; prior_tokens: n_0."""
    total, served = credit
    mean = quotient(total.sum(-1, keepdim=True), served.sum(-1, keepdim=True))
    weight = served + prior_tokens
    rate = (total - mean * served) / weight
    value = quotient(total, served)
    net_square, net_served, served_square = squares
    scatter = (net_square - 2 * value * net_served + value**2 * served_square).clamp(min=0)
    error = scatter.sqrt() / weight
    deviation = (rate.var(-1, correction=0, keepdim=True) + error**2).sqrt()
    return Profit(value, rate, error, deviation)


def merit(profits: Profit) -> Tensor:
    """pi_e = clip(Pi_e / sqrt(var(Pi) + se_e^2), +-1), [L,E]: free of units, and noise alone moves nobody far."""
    return quotient(profits.rate, profits.deviation).clamp(-LARGEST_MERIT, LARGEST_MERIT)
