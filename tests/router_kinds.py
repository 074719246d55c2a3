"""Every router there is, with one, two and all winners, in a small run of its own."""

from __future__ import annotations

from typing import Any

import torch

from camoe.config import ConfigError
from camoe.config.run import RunConfig
from camoe.config.schema_store import ROUTER_SCHEMAS
from camoe.model.language_model import LanguageModel
from tests.small_run import small_run

KINDS = tuple(ROUTER_SCHEMAS)
WINNERS = (1, 2, 4)
"""Of the four experts of a small run."""


def router_run(kind: str, top_k: int, **groups: Any) -> RunConfig:
    """A small run of the router, without a market unless it needs one."""
    router = {"kind": kind, "top_k": top_k, **groups.pop("router", {})}
    return small_run("v18" if kind == "market_only" else "off", router=router, **groups)


def _allowed(kind: str, top_k: int) -> bool:
    try:
        router_run(kind, top_k)
    except ConfigError:
        return False
    return True


CASES = [(kind, top_k) for kind in KINDS for top_k in WINNERS if _allowed(kind, top_k)]
"""(kind, top_k) that the configuration does not refuse."""


def alive(config: RunConfig) -> LanguageModel:
    """A model whose weights and balancing state are all moved from where they start, as after training."""
    model, generator = LanguageModel(config), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.balancer.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
    return model.eval()
