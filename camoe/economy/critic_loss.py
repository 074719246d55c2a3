"""What critics learn from, once the tokens' losses are known.

Shapes are those of one layer; all may carry a leading L, over which losses are averaged, with a baseline [L,1,1].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from camoe.kernels.ranks import ALONE, Ranks


class Outcome(NamedTuple):
    """How elections ended."""

    winners: Tensor
    """[B,T,K] int64."""
    price: Tensor
    """[B,T], gate-score units."""
    token_loss: Tensor
    """[B,T], nats."""
    mask: Tensor
    """[B,T] bool, True at real targets."""
    ranks: Ranks = ALONE
    """Those that may share the micro-batch."""


def difficulty_loss(difficulty: Tensor, outcome: Outcome, baseline: Tensor) -> Tensor:
    """Smooth L1 [] between difficulty [B,T] and relu(l_t - baseline), nats."""
    target = (outcome.token_loss.detach() - baseline).relu()
    return _mean_error(difficulty, target, outcome.mask)


def affinity_loss(affinity: Tensor, outcome: Outcome, baseline: Tensor) -> Tensor:
    """Smooth L1 [] between the winners' affinity [B,T,E] and what they earned on the token.

    That is the realised profit baseline - l_t - price_t; its mean over the tokens an expert serves is the expert's
    realised profit rate, nats per token. Experts that did not serve realised nothing and teach nothing.
    """
    profit = (baseline - outcome.token_loss - outcome.price).detach().unsqueeze(-1)
    backed = affinity.gather(-1, outcome.winners)
    return _mean_error(backed, profit, outcome.mask.unsqueeze(-1))


def _mean_error(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    # a masked target that equals its prediction has neither error nor gradient, whatever padding holds
    predicted = predicted.float()
    mask = mask.expand_as(predicted)
    target = torch.where(mask, target.float(), predicted.detach())
    return F.smooth_l1_loss(predicted, target, reduction="sum") / mask.sum().clamp(min=1)
