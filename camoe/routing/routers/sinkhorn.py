"""Sinkhorn router (S-BASE): training balances every sequence by Sinkhorn's scaling, evaluation elects as top-k does."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from camoe.config.learned_router import SinkhornConfig
from camoe.routing.learned_router import LearnedRouter, weights_of


class Sinkhorn(LearnedRouter):
    """Winners in training = top-k of D = e^(z + u + v), evaluation = top-k of z; weights sigmoid(z) or softmax(z).

    u_t and v_e, without gradient, give D row sums 1/T and column sums 1/E. Row factors leave a token's order alone, so
    training elects by z + v: balanced by construction, but v depends on the whole sequence, which evaluation cannot
    have. Sums are over a sequence, so that no sequence depends on another; padding at its end takes part. Weights are
    sigmoid(z) of one winner, softmax(z) of several, as they are. Source: Clark et al. 2022 (arXiv 2202.01169);
    Megatron-LM's sinkhorn router, which iterates to a tolerance and so makes the host wait.
    """

    config: SinkhornConfig

    def training_bias(self, bids: Tensor) -> Tensor:
        """v, [B,1,E]."""
        return column_potential(bids, self.config.iterations)

    def weigh(self, logits: Tensor, winners: Tensor) -> Tensor:
        """See LearnedRouter."""
        return weights_of(logits, winners, "sigmoid" if self.top_k == 1 else "softmax", "raw")


@torch.no_grad()
def column_potential(logits: Tensor, iterations: int) -> Tensor:
    """v [B,1,E] for which e^(z + u + v), z [B,T,E], has column sums 1/E, and nearly row sums 1/T; its mean is 0."""
    time, n_expert = logits.shape[-2:]
    v = torch.zeros_like(logits[..., :1, :])
    for _ in range(iterations):
        u = -torch.logsumexp(logits + v, -1, keepdim=True) - math.log(time)
        v = -torch.logsumexp(logits + u, -2, keepdim=True) - math.log(n_expert)
    return v - v.mean(-1, keepdim=True)
