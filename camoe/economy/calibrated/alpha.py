"""(15) alpha: how many standard deviations of the gate an e-fold of wealth is worth in the election."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from camoe.config.calibrated import AlphaConfig
from camoe.economy.calibrated.rates import quotient, rate

LARGEST_EVIDENCE = 3.0
FEWEST_SEQUENCES = 2.0
PARAMETERS = 3  # two means and a slope


class Effect(NamedTuple):
    """What the market does to the loss, all []."""

    gain: Tensor
    """Loss without minus loss with the market, nats per token, at equal difficulty; 0 while an arm is too small."""
    error: Tensor
    """Its standard error; 0 while an arm is too small."""
    tau: Tensor
    """gain / error, 0 where that is undefined."""
    sequences: Tensor
    """Effective number of sequences held out."""


def holdout_effect(arms: Tensor) -> Effect:
    """Analysis of covariance of two arms [2,7] of sequence sums (w, wy, wx, wyy, wxy, wxx, ww), the market on first.

    y is a sequence's mean loss, x its difficulty as the first critic saw it, w its tokens. The slope of y on x is
    estimated within arms. n = w^2 / ww is the effective number of sequences.
    """
    weight, y, x, yy, xy, xx, ww = arms.unbind(-1)
    mean_y, mean_x, count = quotient(y, weight), quotient(x, weight), quotient(weight**2, ww)
    syy, sxy, sxx = ((second - first).sum() for second, first in ((yy, y * mean_y), (xy, x * mean_y), (xx, x * mean_x)))
    slope = quotient(sxy, sxx)
    gap = mean_x[1] - mean_x[0]
    gain = mean_y[1] - mean_y[0] - slope * gap
    freedom = count.sum() - PARAMETERS
    variance = quotient((syy - slope * sxy).clamp(min=0), weight.sum()) * quotient(count.sum(), freedom.clamp(min=1))
    per_count = quotient(torch.ones_like(count), count).sum() + quotient(gap**2 * weight.sum(), sxx * count.sum())
    error = (variance * per_count).sqrt()
    enough = (count.min() >= FEWEST_SEQUENCES) & (freedom >= 1)
    gain, error = torch.where(enough, gain, 0), torch.where(enough, error, 0)
    return Effect(gain, error, quotient(gain, error), count[1])


def agreement(agreed: Tensor, gate: Tensor, market: Tensor) -> tuple[Tensor, Tensor]:
    """Share [L] of tokens on which gate and market favour the same expert, and kappa [L], the same beyond chance.

    From tokens agreed on [L] and tokens favouring each expert [L,E]. kappa = (a - a0)/(1 - a0) with chance a0 =
    sum_e P_gate(e) P_market(e); where the market favours one expert on every token a = a0, and kappa is 0.
    """
    opinions = gate.sum(-1)
    share = quotient(agreed, opinions)
    chance = quotient((gate * market).sum(-1), opinions**2)
    return share, quotient(share - chance, 1 - chance)


def updated(config: AlphaConfig, alpha: Tensor, effect: Effect, kappa: Tensor, tokens: Tensor) -> Tensor:
    """alpha [L] after a settlement: alpha exp(r_N(H) evidence) within its limits.

    holdout: the evidence is clip(tau, +-3), the same for all layers. agreement: kappa [L].
    """
    if config.kind == "fixed":
        return alpha
    evidence = kappa if config.kind == "agreement" else effect.tau.clamp(-LARGEST_EVIDENCE, LARGEST_EVIDENCE)
    return (alpha * (rate(tokens, config.half_life) * evidence).exp()).clamp(config.least, config.largest)
