"""(6) Merit: an expert's profit per token served, against the spread between experts and its own uncertainty."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from camoe.economy.calibrated.rates import quotient

LARGEST_SCORE = 2.0
"""B5 clips at 1; two of eight experts with evenly spread values lie beyond that on either side, and would be equal."""


class Profit(NamedTuple):
    """What the horizon says of every expert, [L,E]."""

    value: Tensor
    """V_e, nats per served token, 0 where nothing was served."""
    value_error: Tensor
    """Standard error of V_e, nats per served token; that of Pi_e is smaller by n_e / (n_e + n_0)."""
    rate: Tensor
    """Pi_e, nats per served token beyond the layer's mean; sum_e n_e Pi_e = 0 as n_0 -> 0."""
    error: Tensor
    """se_e, standard error of Pi_e, nats per served token."""
    score: Tensor
    """Pi_e / sqrt(var_e'(Pi_e') + se_e^2): free of units."""
    reliability: Tensor
    """[L,1], share of the variance between experts that is no error: max(0, 1 - mean se^2 / var)."""


def profit(credit: Tensor, squares: Tensor, prior_tokens: float) -> Profit:
    """From the running sums `CreditSums.credit` [2,L,E] and `.squares` [3,L,E]; prior_tokens: n_0."""
    total, served = credit
    mean = quotient(total.sum(-1, keepdim=True), served.sum(-1, keepdim=True))
    weight = served + prior_tokens
    rate = (total - mean * served) / weight
    value = quotient(total, served)
    net_square, net_served, served_square = squares
    scatter = (net_square - 2 * value * net_served + value**2 * served_square).clamp(min=0).sqrt()
    error = scatter / weight
    deviation = (rate.var(-1, correction=0, keepdim=True) + error**2).sqrt()
    between, within = rate.var(-1, keepdim=True), error.square().mean(-1, keepdim=True)
    reliability = torch.where(between > 0, 1 - quotient(within, between), 0).clamp(min=0)
    return Profit(value, quotient(scatter, served), rate, error, quotient(rate, deviation), reliability)


def merit(profits: Profit) -> Tensor:
    """pi_e = reliability times clip(score, +-2), [L,E].

    The error within the score alone (B5) does not keep noise from moving wealth: when all variance is error it only
    divides by sqrt 2. The reliability does; it is the factor of James and Stein's estimator.
    """
    return profits.reliability * clipped(profits.score)


def clipped(score: Tensor) -> Tensor:
    """clip(score, +-2)."""
    return score.clamp(-LARGEST_SCORE, LARGEST_SCORE)


def outlook(profits: Profit) -> Tensor:
    """y = softmax(Pi_e / sd), shrunk like merit, [L,E]: what the horizon says, and what critics are scored by."""
    return torch.softmax(profits.reliability * profits.score, dim=-1)
