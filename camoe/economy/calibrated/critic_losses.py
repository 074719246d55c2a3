"""(16) What calibrated critics learn: how hard a token is, and which experts the audits will credit.

Letters: L layers, B batch, T time, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from camoe.economy.critic_loss import Outcome


def difficulty_loss(difficulty: Tensor, outcome: Outcome, mean: Tensor, deviation: Tensor) -> Tensor:
    """Huber loss [] between difficulty [L,B,T] and the z-score of the token loss.

    mean, deviation: [] of the token loss over the horizon, nats; while they are unknown (deviation 0) the z-score is
    taken within the micro-batch.
    """
    mask, loss = outcome.mask, outcome.token_loss.detach().double()
    count = mask.sum().clamp(min=1)
    own_mean, own_deviation = _within_micro_batch(loss, outcome)
    known = deviation > 0
    scale = torch.where(known, deviation, torch.where(own_deviation > 0, own_deviation, 1))
    score = ((loss - torch.where(known, mean, own_mean)) / scale).float()
    predicted = difficulty.float()
    target = torch.where(mask, score, predicted.detach())  # a masked token has neither error nor gradient
    return F.huber_loss(predicted, target, reduction="sum") / (count * difficulty.shape[0])


def _within_micro_batch(loss: Tensor, outcome: Outcome) -> tuple[Tensor, Tensor]:
    """Mean and deviation [] of the loss [B,T], nats, over the whole micro-batch, also where ranks share one."""
    mask, whole = outcome.mask, outcome.ranks.whole_micro_batch
    count = whole(mask.sum()).clamp(min=1)
    mean = whole(torch.where(mask, loss, 0).sum()) / count
    return mean, (whole(torch.where(mask, loss - mean, 0).square().sum()) / count).sqrt()


def affinity_loss(affinity: Tensor, mask: Tensor, outlook: Tensor) -> Tensor:
    """Cross-entropy [] -sum_e y_e log q_e of each sequence's forecast q = softmax(mean_t affinity), and y [L,E].

    affinity [L,B,T,E], mask [B,T]. Sequences count by their real targets, so that how the batch is cut is irrelevant.
    """
    tokens = mask.sum(-1)
    total = torch.where(mask.unsqueeze(-1), affinity.float(), 0).sum(2)
    log_forecast = torch.log_softmax(total / tokens.clamp(min=1).unsqueeze(-1), dim=-1)
    surprise = -(outlook.float().unsqueeze(1) * log_forecast).sum(-1)
    return (surprise * tokens).sum(-1).mean() / tokens.sum().clamp(min=1)
