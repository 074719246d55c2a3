"""The router that a configuration names."""

from __future__ import annotations

from camoe.config.router import RouterConfig
from camoe.routing.dual_path import DualPath
from camoe.routing.market_only import MarketOnly
from camoe.routing.router import Router

_ROUTERS: dict[str, type[DualPath] | type[MarketOnly]] = {"dual_path": DualPath, "market_only": MarketOnly}


def build_router(config: RouterConfig, n_embd: int, n_expert: int) -> Router:
    """The router of one layer."""
    return _ROUTERS[config.kind](config, n_embd, n_expert)
