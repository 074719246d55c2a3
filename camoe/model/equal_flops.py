"""The width of experts at which training costs per token what it costs under a gate alone: equal FLOPs across arms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch.utils._python_dispatch import _disable_current_modes

from camoe.config.economy import EconomyConfig
from camoe.config.learned_router import LearnedRouterConfig
from camoe.config.refusal import ConfigError
from camoe.config.run import RunConfig
from camoe.economy.market import Market
from camoe.model.cost import LEARNING, head_share, model_cost
from camoe.model.rooms import ModelParts

GROUPED_FROM, GROUPED_MULTIPLE = 1024, 8
"""Wide experts keep to widths that grouped products of a GPU take; below, a unit more or less is felt."""


class PricedModel(ModelParts, Protocol):
    """A language model as far as the cost of training it goes."""

    market: Market


Build = Callable[[RunConfig], PricedModel]


def training_passes(model: PricedModel) -> float:
    """Forward passes that a training token costs on average under an even load: learning, and the market's audits."""
    market, n_layer = model.market, model.config.model.n_layer
    if market.audits is None:
        return LEARNING
    audited = market.audits.share * (1 - market.holdout_share) * market.audits.passes(model.config.experts.total)
    head = head_share(model)
    return LEARNING + audited * (head + (1 - head) * (n_layer + 1) / (2 * n_layer))  # every layer is audited as often


def training_flops_per_token(model: PricedModel) -> float:
    """FLOPs that a training token costs on average under an even load, the counting of load before a step left out."""
    config = model.config
    return model_cost(model).flops_per_token(config.model.n_layer, config.router.top_k) * training_passes(model)


def under_a_gate(config: RunConfig) -> RunConfig:
    """The run that others are made equal to: the same mix and top_k, a gate of confidence nets, no market."""
    router = config.router
    gate = LearnedRouterConfig(
        top_k=router.top_k, gate_hidden=router.gate_hidden, gate_activation=router.gate_activation
    )
    return replace(config, router=gate, economy=EconomyConfig(), experts=replace(config.experts, equal_flops=False))


def equal_hidden(config: RunConfig, target: float, build: Build) -> int:
    """The hidden width of `config`'s experts, whatever theirs is, at which a token of training costs `target` FLOPs.

    To a unit; from GROUPED_FROM on to GROUPED_MULTIPLE. Costs are linear in the width. ConfigError where none is narrow
    enough.
    """

    def cost(hidden: int) -> float:
        experts = replace(config.experts, hidden=hidden, equal_flops=False)
        return _cost(replace(config, experts=experts), build)

    least = cost(1)
    width = 1 + (target - least) / (cost(2) - least)
    if width < 0.5:
        raise ConfigError(
            f"experts.equal_flops: with experts of one hidden unit training costs {least / target:.2f} times what it "
            "costs under a gate alone; choose wider experts (experts.hidden_ratio), or experts.equal_flops=false"
        )
    unit = GROUPED_MULTIPLE if width >= GROUPED_FROM else 1
    return round(width / unit) * unit


def reference_flops(config: RunConfig, build: Build) -> float:
    """FLOPs of a training token under a gate alone."""
    return _cost(under_a_gate(config), build)


def _cost(config: RunConfig, build: Build) -> float:
    with _disable_current_modes(), torch.device("meta"):
        return training_flops_per_token(build(config))
