"""Elections outside of a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camoe.routing.router import RoutingContext


def context(h: Tensor, quote: Any = None, terms: Any = None, **more: Any) -> RoutingContext:
    """The context of h [B,T,C]: tokens from 0 to B T - 1, read from the start of every sequence."""
    given: dict[str, Any] = {"quote": quote, **more}
    if terms is not None:
        given["terms"] = terms
    tokens = torch.arange(h.shape[0] * h.shape[1]).view(h.shape[:2])
    return RoutingContext(**{"tokens": tokens, "position": torch.arange(h.shape[1]).expand(h.shape[:2]), **given})
