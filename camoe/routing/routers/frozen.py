"""Routing by a gate that never learns."""

from __future__ import annotations

from torch import Tensor
from torch.func import functional_call

from camoe.routing.learned_router import ScoredRouter
from camoe.routing.router import RoutingContext


class Frozen(ScoredRouter):
    """Winners and weights as of `topk`, from a gate that keeps its first values.

    A control: it parts what learning to route brings from what having several experts brings. Hidden vectors still get
    a gradient through the weights, so the backbone may learn to use the fixed gate; `random` and `token_hash` are the
    controls in which it cannot.
    """

    def logits(self, h: Tensor, context: RoutingContext) -> Tensor:  # noqa: ARG002 (as ScoredRouter)
        """z [B,T,E], differentiable in h alone."""
        fixed = {name: parameter.detach() for name, parameter in self.gate.named_parameters()}
        return functional_call(self.gate, fixed, (h,))
