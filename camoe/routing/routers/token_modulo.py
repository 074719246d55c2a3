"""Routing by the token's id alone."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.routing.router import RoutingContext
from camoe.routing.static_router import StaticRouter


class TokenModulo(StaticRouter):
    """winners = (id + j) mod E for j = 0..k-1, each with weight 1/k.

    The first is the published rule; k > 1 adds the experts that follow. Every layer elects the same. Even over ids, not
    over text, whose frequent ids load some experts more. Source: Complexity MoE, token-routed MLP; the opponent called
    Hash in ReMoE (Wang et al., 2024, section 4.2).
    """

    def elect(self, context: RoutingContext) -> Tensor:
        """See StaticRouter."""
        ranks = torch.arange(self.top_k, device=context.tokens.device)
        return (context.tokens[..., None] + ranks) % self.n_expert
