"""BASE layers: balanced assignment in training, the nearest expert in evaluation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camoe.config.learned_router import BaseConfig
from camoe.economy.critic import CriticOpinion
from camoe.kernels.linear import Linear
from camoe.kernels.without_autocast import without_autocast
from camoe.routing.balanced_assignment import balanced_assignment
from camoe.routing.decision import RoutingDecision
from camoe.routing.router import Router, RoutingContext

INITIAL_GAIN = 0.1


class Base(Router):
    """One winner a_t; training: max sum_t h_t . w_{a_t} with T/E tokens for every expert; evaluation: argmax.

    weight = sigmoid(h_t . w_{a_t}); centroids w start orthogonal with gain 0.1. Source: Lewis et al. 2021 (BASE
    Layers), eq. 1-2. The assignment is that of each sequence by itself, where the paper has all tokens of all workers
    after a shuffle, so that no sequence depends on another. It sees the whole sequence, which evaluation cannot have.
    """

    def __init__(self, config: BaseConfig, n_embd: int, n_expert: int) -> None:
        super().__init__()
        self.top_k = config.top_k
        self.centroids = Linear(n_embd, n_expert, bias=False)
        if not self.centroids.weight.is_meta:
            nn.init.orthogonal_(self.centroids.weight, INITIAL_GAIN)

    def forward(self, h: Tensor, context: RoutingContext, opinion: CriticOpinion | None) -> RoutingDecision:
        """See Router."""
        del opinion
        with without_autocast(h.device.type):
            logits: Tensor = self.centroids(h.to(self.centroids.weight.dtype))
        own, terms = logits.detach(), context.terms
        bids = terms.admitted(own)
        winners = balanced_assignment(bids) if terms.training else bids.argmax(-1)
        winners = winners[..., None]
        return RoutingDecision(
            experts=winners,
            weights=terms.weighed(torch.sigmoid(logits).gather(-1, winners)),
            price=own.scatter(-1, winners, -torch.inf).amax(-1) if own.shape[-1] > 1 else torch.zeros_like(own[..., 0]),
            gate_logits=logits,
            selection_bias=torch.zeros_like(own),
            adjusted_logits=own,
        )
