"""What routers share in which as many experts serve a token as it is worth: each decides for itself."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from camoe.config.learned_router import GateConfig
from camoe.economy.critic import CriticOpinion
from camoe.routing.decision import RoutingDecision
from camoe.routing.linear_gate import build_gate
from camoe.routing.router import Router, RoutingContext


class VariableRouter(Router):
    """Expert e serves token t iff z_te + b_e > 0; all E experts stand in the decision, those that serve are active.

    b is the layer's part of the balancing rule. There is no price: nobody competes.
    """

    def __init__(self, config: GateConfig, n_embd: int, n_expert: int) -> None:
        super().__init__()
        self.top_k = config.top_k
        self.gate = build_gate(config, n_embd, n_expert)

    @abstractmethod
    def scores(self, logits: Tensor) -> Tensor:
        """Mixture weights [B,T,E] of the experts if they serve."""

    def forward(self, h: Tensor, context: RoutingContext, opinion: CriticOpinion | None) -> RoutingDecision:
        """See Router."""
        del opinion
        logits, terms = self.gate(h), context.terms
        own = logits.detach()
        bias = torch.zeros_like(own) if context.balance is None else context.balance.to(own).expand_as(own)
        bids, experts = torch.sort(terms.admitted(own + bias), dim=-1, descending=True, stable=True)
        active = bids > 0
        return RoutingDecision(
            experts=experts,
            weights=terms.weighed(self.scores(logits).gather(-1, experts) * active),
            price=torch.zeros_like(own[..., 0]),
            gate_logits=logits,
            selection_bias=bias,
            adjusted_logits=own + bias,
            active=active,
        )
