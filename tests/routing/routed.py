"""What routers of all layers decided for drawn logits, without a model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camoe.routing.balancer import Balancer
from camoe.routing.balancers.compute_price import MixFlops
from camoe.routing.decision import RoutingDecision
from camoe.routing.router import Router
from tests.routing.routing_context import context


def even_flops(n_layer: int, n_expert: int) -> MixFlops:
    """Experts that all cost the same."""
    return MixFlops([[100] * n_expert] * n_layer, 500.0)


def cheap_and_dear(n_layer: int, n_expert: int) -> MixFlops:
    """The last two experts cost four times as much as the others."""
    return MixFlops([[100] * (n_expert - 2) + [400] * 2] * n_layer, 500.0)


class GivenGate(nn.Module):
    """A gate whose logits are its input."""

    def forward(self, h: Tensor) -> Tensor:
        """h itself."""
        return h


def decided(router: Router, balancer: Balancer, logits: Tensor) -> RoutingDecision:
    """The decision of all layers for logits [L,B,T,E], by a router whose gate is a GivenGate."""
    layers = [
        router(of_layer, context(of_layer, balance=balancer.of_layer(layer)), None)
        for layer, of_layer in enumerate(logits)
    ]
    fields = ("experts", "weights", "price", "gate_logits", "selection_bias", "adjusted_logits", "active")
    stacked = {
        name: None if getattr(layers[0], name) is None else torch.stack([getattr(layer, name) for layer in layers])
        for name in fields
    }
    return RoutingDecision(**stacked)


def loads(routed: Sequence[RoutingDecision], n_expert: int) -> Tensor:
    """[L,E] float64, how often every expert won."""
    winners = torch.cat([routing.experts.flatten(1) for routing in routed], 1)
    return torch.stack([torch.bincount(layer, minlength=n_expert) for layer in winners]).double()
