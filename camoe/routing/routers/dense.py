"""No routing: a single expert."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.routing.router import RoutingContext
from camoe.routing.static_router import StaticRouter


class Dense(StaticRouter):
    """winner = expert 0, the only one, with weight 1: E = K = 1; the control of equal active FLOPs.

    Its width is that at which a token costs what it costs in the configured mix, see `camoe.model.as_built`.
    """

    def elect(self, context: RoutingContext) -> Tensor:
        """See StaticRouter."""
        return torch.zeros_like(context.tokens)[..., None]
