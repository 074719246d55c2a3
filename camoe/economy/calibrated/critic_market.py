"""(16) What critics forecast, what their forecasts earn by the log market scoring rule, and how they are rescued.

A forecast q is long where q_e > c_e and short where q_e < c_e; positions q - c sum to zero. It is paid against the
outlook y by S = sum_e y_e (log q_e - log c_e). If c is the expectation of y, no forecast that knows nothing of y gains:
with u = q/c, exp S <= sum_e y_e u_e, so max(S, -1) <= sum_e y_e u_e - 1, whose expectation is 0; losses may be clipped.
All tensors are [L] unless said otherwise, and purses are in units of K0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from camoe.config.calibrated import LogScoringCriticConfig
from camoe.economy.calibrated.rates import quotient, rate
from camoe.economy.calibrated.state import CalibratedState
from camoe.economy.restructuring import donor_weights, restructure

LARGEST_SCORE = 1.0


class PurseFlows(NamedTuple):
    """What moved a critic's purse in one settlement."""

    score: Tensor
    """S, nats, before clipping; 0 where nothing has been credited."""
    earned: Tensor
    """Net, either sign."""
    repaid: Tensor
    bailout: Tensor
    residual: Tensor
    """What these fail to explain of the purse."""


def forecast(affinity: Tensor, tokens: Tensor) -> Tensor:
    """log q, q = softmax of the mean affinity, [L,E], from its sum [L,E] over N tokens []."""
    return torch.log_softmax(quotient(affinity, tokens), dim=-1)


def score(log_belief: Tensor, share: Tensor, outlook: Tensor) -> Tensor:
    """S = KL(y|c) - KL(y|q), from log q, c and y [L,E]: positive where the critic is nearer to y than the market is."""
    return (outlook * (log_belief - share.log())).sum(-1)


def settle_purses(
    config: LogScoringCriticConfig,
    state: CalibratedState,
    scores: Tensor,
    tokens: Tensor,
    critics: Sequence[nn.Module],
) -> PurseFlows:
    """K exp(r_N clip(S, +-1)), repayment of debt, bailout of the bankrupt and their step towards better critics."""
    opening = state.purse.clone()
    if config.settlement == "none":
        nothing = torch.zeros_like(opening)
        return PurseFlows(scores, nothing, nothing, nothing, nothing)
    growth = rate(tokens, config.half_life) * scores.clamp(-LARGEST_SCORE, LARGEST_SCORE)
    paid = (opening * growth.exp()).clamp(max=config.purse_max)
    spare = (paid - config.bankrupt_below).clamp(min=0)
    repaid = torch.minimum(rate(tokens, config.repay_half_life) * spare, state.debt)
    purse = paid - repaid
    bankrupt = purse < config.bankrupt_below
    size = (config.bailout_base * config.bailout_decay**state.bailout_count).clamp(min=config.bailout_min)
    bailout = size * bankrupt

    state.purse.copy_(purse + bailout)
    state.debt.add_(bailout - repaid)
    state.bailout_count.add_(bankrupt)
    _learn_from_donors(config, state, bankrupt, critics)
    earned = paid - opening
    return PurseFlows(scores, earned, repaid, bailout, state.purse - opening - earned + repaid - bailout)


def _learn_from_donors(
    config: LogScoringCriticConfig, state: CalibratedState, bankrupt: Tensor, critics: Sequence[nn.Module]
) -> None:
    skill = state.difficulty_r2() if config.donor_skill == "r2" else state.purse
    n_layer = len(skill)
    donors = donor_weights(skill.expand(n_layer, -1), state.purse.expand(n_layer, -1), config.donor_topk)
    restructure(critics, bankrupt, donors, config.restructure_step)
