"""Loss-free balancing: a bias on the selection moves against the load, and no loss is needed (DeepSeek)."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.learned_router import LossFreeConfig
from camoe.economy.calibrated.congestion import side_of_target
from camoe.economy.calibrated.rates import quotient
from camoe.routing.balance_terms import layer_assignments
from camoe.routing.balancer import Balancer
from camoe.routing.balancers.compute_price import ComputePrice
from camoe.routing.decision import RoutingDecision
from camoe.routing.learned_router import ScoredRouter


class LossFree(ScoredRouter):
    """Winners = top-k of s_te + b_e with the score s = sigmoid(z) or softmax(z); weights from s alone.

    Source: Wang et al. 2024 (arXiv 2408.15664), algorithm 1; DeepSeek-V3 (arXiv 2412.19437) renormalises the weights.
    """

    def bids(self, logits: Tensor) -> Tensor:
        """s, [B,T,E]."""
        return torch.softmax(logits, -1) if self.config.score == "softmax" else torch.sigmoid(logits)


class LossFreeBalancer(Balancer):
    """b_e of all layers, moved once per optimiser step by the loads n_e of its whole window.

    sign: b += g sign(q_e sum(n) - n_e), algorithm 1, where q_e = 1/E. centered: the same less its mean over experts,
    which keeps b from drifting and elects the same (as torchtitan does). momentum: with the average m of the share
    n_e / sum(n), d = g (q_e - m), b = clip(b + d - mean(d), +-bias_max), after `bias_warmup` steps (as axolotl's
    aux-free router does). A price of compute mu makes q_e proportional to e^(-mu kappa_e), since the bias would
    take back whatever it took off the bids.
    """

    bias: Tensor
    """[L,E], b."""
    load: Tensor
    """[L,E], m."""
    steps: Tensor
    """[] int64, optimiser steps so far."""

    def __init__(self, config: LossFreeConfig, n_layer: int, n_expert: int, compute: ComputePrice) -> None:
        super().__init__()
        self.config, self.compute = config, compute
        self.register_buffer("bias", torch.zeros(n_layer, n_expert, dtype=torch.float64))
        self.register_buffer("load", torch.zeros(n_layer, n_expert, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def of_layer(self, layer: int) -> Tensor:
        """b, [E]."""
        return self.bias[layer]

    def measure(self, routing: RoutingDecision, mask: Tensor) -> dict[str, Tensor]:
        """See Balancer."""
        return {"served": layer_assignments(routing, mask).double(), "tokens": mask.sum().double()}

    def end_step(self, sums: dict[str, Tensor]) -> None:
        """See Balancer."""
        served, config = sums["served"], self.config
        weights = self.compute.load_weights()
        self.steps.add_(1)
        if config.bias_rule == "momentum":
            self._follow_average(served, weights)
        else:
            move = -config.bias_step * side_of_target(served, weights)
            self.bias.add_(move - move.mean(-1, keepdim=True) if config.bias_rule == "centered" else move)
        self.compute.end_step(served, sums["tokens"])

    def _follow_average(self, served: Tensor, weights: Tensor) -> None:
        config = self.config
        share = quotient(served, served.sum(-1, keepdim=True))
        self.load.mul_(config.bias_momentum).add_((1 - config.bias_momentum) * share)
        move = config.bias_step * (weights / weights.sum(-1, keepdim=True) - self.load)
        move = torch.where(self.steps > config.bias_warmup, move - move.mean(-1, keepdim=True), 0)
        self.bias.add_(move).clamp_(-config.bias_max, config.bias_max)
