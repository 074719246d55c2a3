"""What routers without parameters share: they name winners, and all winners weigh the same."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from camoe.config.router import RouterConfig
from camoe.economy.critic import CriticOpinion
from camoe.routing.decision import RoutingDecision
from camoe.routing.router import Router, RoutingContext


class StaticRouter(Router):
    """weights = 1/k. In place of gate logits the decision holds 1 for winners and 0 for the others.

    So no bias or noise appears to have changed a winner, and the entropies of statistics say how winners spread.
    """

    def __init__(self, config: RouterConfig, n_embd: int, n_expert: int) -> None:  # noqa: ARG002 (as all routers)
        super().__init__()
        self.top_k, self.n_expert = config.top_k, n_expert

    @abstractmethod
    def elect(self, context: RoutingContext) -> Tensor:
        """Distinct winners [B,T,K]; a preference of the context's terms goes before them."""

    def forward(self, h: Tensor, context: RoutingContext, opinion: CriticOpinion | None) -> RoutingDecision:  # noqa: ARG002
        """See Router."""
        preference = context.terms.preference
        winners = self.elect(context) if preference is None else preference.topk(self.top_k, dim=-1).indices
        dtype = torch.promote_types(h.dtype, torch.float32)
        won = h.new_zeros(*winners.shape[:-1], self.n_expert, dtype=dtype).scatter_(-1, winners, 1.0)
        return RoutingDecision(
            experts=winners,
            weights=won.new_full(winners.shape, 1 / self.top_k),
            price=won.new_zeros(winners.shape[:-1]),
            gate_logits=won,
            selection_bias=torch.zeros_like(won),
            adjusted_logits=won,
        )
