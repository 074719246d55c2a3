"""Quantile balancing: every step takes the exact dual step that would have balanced it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from camoe.economy.calibrated.congestion import balancing_price
from camoe.kernels.ranks import Ranks
from camoe.routing.balance_terms import layer_assignments
from camoe.routing.balancer import Balancer
from camoe.routing.balancers.compute_price import ComputePrice
from camoe.routing.decision import RoutingDecision
from camoe.routing.learned_router import ScoredRouter


class Quantile(ScoredRouter):
    """Winners = top-k of z_te - beta_e; weights from z alone. See QuantileBalancer for beta."""


class QuantileBalancer(Balancer):
    """beta_e of all layers, from the tokens t of the optimiser step before.

    alpha_t = (k+1)-th largest of z_t - beta, beta_e = (N k / E + 1)-th largest over t of z_te - alpha_t: one exact
    coordinate step of the dual of balanced assignment; no hyper-parameter. Source: Su 2026 (kexue.fm 11619). The
    quantile is that of the whole window over all ranks, so that it does not depend on how the window is cut; published
    code takes the mean of its micro-batches' quantiles, the same where there is one. beta has mean 0, which no election
    notices. A price of compute moves the target loads as in LossFreeBalancer. Costs a sort of the window's N logits
    per layer and expert, and their exchange between ranks.
    """

    beta: Tensor
    """[L,E]."""

    def __init__(self, n_layer: int, n_expert: int, top_k: int, compute: ComputePrice) -> None:
        super().__init__()
        self.top_k, self.compute = top_k, compute
        self.register_buffer("beta", torch.zeros(n_layer, n_expert, dtype=torch.float64))

    def of_layer(self, layer: int) -> Tensor:
        """-beta, [E]."""
        return -self.beta[layer]

    def measure(self, routing: RoutingDecision, mask: Tensor) -> dict[str, Tensor]:
        """See Balancer."""
        return {"served": layer_assignments(routing, mask).double(), "tokens": mask.sum().double()}

    def window_sums(self, routed: Sequence[tuple[RoutingDecision, Tensor]], ranks: Ranks) -> dict[str, Tensor]:
        """See Balancer; and `bids` [L,N,E] of the whole window, -inf at padding."""
        bids = torch.cat([real_logits(routing, mask) for routing, mask in routed], dim=1)
        return {**super().window_sums(routed, ranks), "bids": ranks.join(bids, dim=1)}

    def end_step(self, sums: dict[str, Tensor]) -> None:
        """See Balancer."""
        beta = balancing_price(sums["bids"].double(), self.beta, self.compute.load_weights(), self.top_k)
        self.beta.copy_(beta - beta.mean(-1, keepdim=True))
        self.compute.end_step(sums["served"], sums["tokens"])


def real_logits(routing: RoutingDecision, mask: Tensor) -> Tensor:
    """Logits [L,N,E], -inf at padding."""
    return torch.where(mask[..., None], routing.gate_logits, -torch.inf).flatten(1, 2)
