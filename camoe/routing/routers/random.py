"""Routing by chance."""

from __future__ import annotations

from torch import Tensor

from camoe.config.router import RouterConfig
from camoe.routing.keyed_hash import drawn_experts, salt_of_construction
from camoe.routing.router import RoutingContext
from camoe.routing.static_router import StaticRouter


class Random(StaticRouter):
    """winners = any k experts, every set as likely as any other, each with weight 1/k; a control.

    Training draws them anew at every step, from the election's noise (seeds.router_noise). Without noise, so in
    evaluation and generation, they come from a hash of the token's position and the layer: the same in every sequence,
    and whatever else is read, before, after or in pieces.
    """

    def __init__(self, config: RouterConfig, n_embd: int, n_expert: int) -> None:
        super().__init__(config, n_embd, n_expert)
        self.salt = salt_of_construction()

    def elect(self, context: RoutingContext) -> Tensor:
        """See StaticRouter."""
        if context.terms.noise is not None:
            return context.terms.noise.topk(self.top_k, dim=-1).indices
        return drawn_experts(context.position, self.salt, self.n_expert, self.top_k)
