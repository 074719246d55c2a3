"""Routing by a hash of the token's id."""

from __future__ import annotations

from torch import Tensor

from camoe.config.router import RouterConfig
from camoe.routing.keyed_hash import drawn_experts, salt_of_construction
from camoe.routing.router import RoutingContext
from camoe.routing.static_router import StaticRouter


class TokenHash(StaticRouter):
    """winners = the k experts with the largest hash(id, layer, expert), each with weight 1/k.

    The layer's salt comes from seeds.init and the layer's name, so layers part the ids independently: two ids that
    share an expert in one layer share one in the next no more often than chance. Source: Hash Layers (Roller et al.,
    2021), random hash; Complexity MoE.
    """

    def __init__(self, config: RouterConfig, n_embd: int, n_expert: int) -> None:
        super().__init__(config, n_embd, n_expert)
        self.salt = salt_of_construction()

    def elect(self, context: RoutingContext) -> Tensor:
        """See StaticRouter."""
        return drawn_experts(context.tokens, self.salt, self.n_expert, self.top_k)
