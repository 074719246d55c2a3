"""Routing by a gate that never learns."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from camoe.economy.critic import CriticOpinion
from camoe.routing.decision import RoutingDecision
from camoe.routing.gated_router import GatedRouter
from camoe.routing.router import RoutingContext


class Frozen(GatedRouter):
    """bids = gate (+ noise); winners = top-k; weights = softmax of the gate over them; the gate keeps its first values.

    A control: it parts what learning to route brings from what having several experts brings. The architecture, noise
    and weights are those of the learned router, so hidden vectors still get a gradient through the weights: the
    backbone may learn to use the fixed gate. `random` and `token_hash` are the controls in which it cannot.
    """

    def forward(self, h: Tensor, context: RoutingContext, opinion: CriticOpinion | None) -> RoutingDecision:  # noqa: ARG002
        """See Router."""
        fixed = {name: parameter.detach() for name, parameter in self.gate.named_parameters()}
        gate_logits = functional_call(self.gate, fixed, (h,))
        return self.decide(gate_logits, torch.zeros_like(gate_logits), scores=gate_logits, terms=context.terms)
