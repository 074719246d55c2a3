"""The router that a configuration names, and its balancing rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camoe.config.router import RouterConfig
from camoe.routing.balancer import Balancer
from camoe.routing.capacity import Capacity
from camoe.routing.dual_path import DualPath
from camoe.routing.frozen import Frozen
from camoe.routing.market_only import MarketOnly
from camoe.routing.random import Random
from camoe.routing.router import Router
from camoe.routing.token_hash import TokenHash
from camoe.routing.token_modulo import TokenModulo
from camoe.routing.topk import TopK

_ROUTERS: dict[str, Callable[[Any, int, int], Router]] = {
    "dual_path": DualPath,
    "market_only": MarketOnly,
    "topk": TopK,
    "token_modulo": TokenModulo,
    "token_hash": TokenHash,
    "random": Random,
    "frozen": Frozen,
}


def build_router(config: RouterConfig, n_embd: int, n_expert: int) -> Router:
    """The router of one layer."""
    router = _ROUTERS[config.kind](config, n_embd, n_expert)
    if config.capacity.mode != "off":
        router.capacity = Capacity(config.capacity, config.top_k, n_expert)
    return router


def build_balancer(config: RouterConfig, n_layer: int, n_expert: int) -> Balancer:  # noqa: ARG001
    """What the routers of all layers remember of their balance."""
    return Balancer()
