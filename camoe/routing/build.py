"""The router that a configuration names, and its balancing rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camoe.config.learned_router import (
    ExpertThresholdConfig,
    FlopsTargetConfig,
    LossFreeConfig,
    QuantileConfig,
    ReMoEConfig,
)
from camoe.config.router import RouterConfig
from camoe.routing.balancer import Balancer
from camoe.routing.balancers.compute_price import ComputePrice, MixFlops
from camoe.routing.balancers.toll import Toll
from camoe.routing.capacity import Capacity
from camoe.routing.router import Router
from camoe.routing.routers.base import Base
from camoe.routing.routers.dense import Dense
from camoe.routing.routers.dual_path import DualPath
from camoe.routing.routers.expert_choice import ExpertChoice
from camoe.routing.routers.expert_threshold import ExpertThreshold, ExpertThresholdBalancer
from camoe.routing.routers.frozen import Frozen
from camoe.routing.routers.learned_soft import LearnedSoft
from camoe.routing.routers.loss_free import LossFree, LossFreeBalancer
from camoe.routing.routers.market_only import MarketOnly
from camoe.routing.routers.modulo_prior import ModuloPrior
from camoe.routing.routers.quantile import Quantile, QuantileBalancer
from camoe.routing.routers.random import Random
from camoe.routing.routers.remoe import ReMoE, ReMoEBalancer
from camoe.routing.routers.sinkhorn import Sinkhorn
from camoe.routing.routers.soft_moe import SoftMoE
from camoe.routing.routers.token_hash import TokenHash
from camoe.routing.routers.token_modulo import TokenModulo
from camoe.routing.routers.topk import TopK

_ROUTERS: dict[str, Callable[[Any, int, int], Router]] = {
    "dual_path": DualPath,
    "market_only": MarketOnly,
    "topk": TopK,
    "learned_soft": LearnedSoft,
    "modulo_prior": ModuloPrior,
    "token_modulo": TokenModulo,
    "token_hash": TokenHash,
    "random": Random,
    "frozen": Frozen,
    "loss_free": LossFree,
    "quantile": Quantile,
    "sinkhorn": Sinkhorn,
    "base": Base,
    "remoe": ReMoE,
    "expert_threshold": ExpertThreshold,
    "dense": Dense,
    "expert_choice": ExpertChoice,
    "soft_moe": SoftMoE,
}


def build_router(config: RouterConfig, n_embd: int, n_expert: int) -> Router:
    """The router of one layer."""
    router = _ROUTERS[config.kind](config, n_embd, n_expert)
    if config.capacity.mode != "off":
        router.capacity = Capacity(config.capacity, config.top_k, n_expert)
    return router


def build_balancer(config: RouterConfig, n_layer: int, n_expert: int, flops: MixFlops) -> Balancer:
    """What the routers of all layers remember of their balance; `flops` for the price of compute."""
    if not isinstance(config, FlopsTargetConfig):
        return Balancer()
    compute = ComputePrice(config, config.top_k, flops)
    if isinstance(config, LossFreeConfig):
        return LossFreeBalancer(config, n_layer, n_expert, compute)
    if isinstance(config, QuantileConfig):
        return QuantileBalancer(n_layer, n_expert, config.top_k, compute)
    if isinstance(config, ReMoEConfig):
        return ReMoEBalancer(config, n_layer, n_expert, compute)
    if isinstance(config, ExpertThresholdConfig):
        return ExpertThresholdBalancer(config, n_layer, n_expert, compute)
    return Balancer() if config.flops_target is None else Toll(compute)
