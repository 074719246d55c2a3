"""Expert threshold: expert choice made causal by thresholds that the past has set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from camoe.config.learned_router import ExpertThresholdConfig
from camoe.kernels.ranks import Ranks
from camoe.routing.balancers.compute_price import ComputePrice
from camoe.routing.balancers.toll import Toll
from camoe.routing.decision import RoutingDecision
from camoe.routing.routers.quantile import real_logits
from camoe.routing.variable_router import VariableRouter


class ExpertThreshold(VariableRouter):
    """Expert e serves token t iff z_te > theta_e (+ mu kappa_e under a price of compute), with weight sigmoid(z_te).

    Source: arXiv 2603.11535.
    """

    def scores(self, logits: Tensor) -> Tensor:
        """sigmoid(z)."""
        return torch.sigmoid(logits)


class ExpertThresholdBalancer(Toll):
    """theta_e <- m theta_e + (1 - m) q_e once per optimiser step; the first step sets theta = q.

    q_e is the (1 - k/E) quantile of the expert's logits over the step's whole window and all ranks: the
    (N k / E + 1)-th largest, which as many tokens beat as expert choice would give it. m = `threshold_momentum`, which
    is ours: what is public of the paper names an average and no constant.
    """

    threshold: Tensor
    """[L,E], theta."""
    steps: Tensor
    """[] int64, optimiser steps so far."""

    def __init__(self, config: ExpertThresholdConfig, n_layer: int, n_expert: int, compute: ComputePrice) -> None:
        super().__init__(compute)
        self.config, self.share = config, config.top_k / n_expert
        self.register_buffer("threshold", torch.zeros(n_layer, n_expert, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def of_layer(self, layer: int) -> Tensor:
        """-theta - mu kappa, [E]."""
        return super().of_layer(layer) - self.threshold[layer]

    def window_sums(self, routed: Sequence[tuple[RoutingDecision, Tensor]], ranks: Ranks) -> dict[str, Tensor]:
        """See Balancer; and `logits` [L,N,E] of the whole window, -inf at padding."""
        own = torch.cat([real_logits(routing, mask) for routing, mask in routed], dim=1)
        return {**super().window_sums(routed, ranks), "logits": ranks.join(own, dim=1)}

    def end_step(self, sums: dict[str, Tensor]) -> None:
        """See Balancer."""
        super().end_step(sums)
        ranked = sums["logits"].double().sort(dim=1, descending=True).values
        seats = torch.minimum((sums["tokens"] * self.share).floor(), (sums["tokens"] - 1).clamp(min=0)).long()
        found = ranked.index_select(1, seats[None])[:, 0]
        kept = self.config.threshold_momentum * (self.steps > 0)
        moved = kept * self.threshold + (1 - kept) * found
        self.threshold.copy_(torch.where(found > -torch.inf, moved, self.threshold))
        self.steps.add_(1)
