"""Dual-path router: gate and market elect the winners together, the gate alone weighs them."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.economy.critic import CriticOpinion
from camoe.routing.decision import RoutingDecision
from camoe.routing.gated_router import GatedRouter
from camoe.routing.router import RoutingContext


class DualPath(GatedRouter):
    """bids = gate + market bias (+ noise); winners = top-k of the bids; weights = softmax of the gate over them.

    The market's part is detached: it moves who wins, never a gradient, so the language-model loss reaches the gate
    whether the market bids or not. Source: CaMoE v21.1.
    """

    def forward(self, h: Tensor, context: RoutingContext, opinion: CriticOpinion | None) -> RoutingDecision:
        """See Router."""
        quote, terms = context.quote, context.terms
        gate_logits = self.gate(h)
        bias = torch.zeros_like(gate_logits)
        if quote is not None:
            bias = terms.reached(quote.bias(gate_logits, opinion)) - quote.toll()
        return self.decide(gate_logits, bias, scores=gate_logits, terms=terms, quote=quote)
