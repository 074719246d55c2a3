"""What is built, where a router has its own say in how many experts there are or serve."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from camoe.config.experts import ExpertsConfig
from camoe.config.run import RunConfig
from camoe.model.bridge import LinearStateBridge
from camoe.model.cost import matrix_weights, share_of_bridged
from camoe.model.equal_flops import Build, equal_hidden, reference_flops
from camoe.model.experts.build import build_experts, build_shared_experts
from camoe.routing.gate import Gate


def as_built(config: RunConfig, build: Build) -> RunConfig:
    """The configuration whose mix and top_k are those of the model; what is built already stays as it is.

    learned_soft: all experts win. dense: one RWKV expert of equal active FLOPs, see `dense_hidden`. With
    `experts.equal_flops` all other mixes too become as wide as costs training the same; `build` makes the models that
    are compared, on the meta device.
    """
    built = _of_router(config)
    if not built.experts.equal_flops:
        return built
    hidden = equal_hidden(built, reference_flops(config, build), build)
    return replace(built, experts=replace(built.experts, hidden=hidden, equal_flops=False))


def _of_router(config: RunConfig) -> RunConfig:
    if config.router.kind == "learned_soft":
        return replace(config, router=replace(config.router, top_k=config.experts.total))
    if config.router.kind == "dense":
        shift = config.experts.token_shift
        one = ExpertsConfig(rwkv_ffn=1, transformer_prefix=0, hidden=dense_hidden(config), token_shift=shift)
        return replace(config, experts=one, router=replace(config.router, top_k=1))
    return config


def dense_hidden(config: RunConfig) -> int:
    """Hidden width of the RWKV expert that costs what the configured mix costs with its top_k, as a learned arm.

    That is, per token under an even load and in the mean over layers: routed experts, bridge, shared experts, and where
    there is a choice the gate. Two matrices of C x hidden cost 4 C hidden, so the nearest width is off by at most 2 C.
    """
    model, attention = config.model, len(config.model.attention_layers)
    layers = {True: attention, False: model.n_layer - attention}
    with _disable_current_modes(), torch.device("meta"):
        flops = sum(count * _mixture_flops(config, attention=kind) for kind, count in layers.items() if count)
    return max(1, round(flops / model.n_layer / (4 * model.n_embd)))


def _mixture_flops(config: RunConfig, *, attention: bool) -> float:
    """FLOPs per token in the mixture of a layer with attention, or of an RWKV layer; on the meta device."""
    model, mix, top_k = config.model, config.experts, config.router.top_k
    layer = next(layer for layer in range(model.n_layer) if (layer in model.attention_layers) == attention)
    routed, shared = (
        sum(expert.flops_per_token for expert in build(layer, model, mix, seed=0, name=""))
        for build in (build_experts, build_shared_experts)
    )
    flops = shared + top_k * routed / mix.total
    if mix.transformer_prefix:
        bridge = LinearStateBridge(model.n_embd, model.prefix_len, model.low_rank)
        flops += share_of_bridged(mix.total, mix.transformer_prefix, top_k) * bridge.flops_per_token
    if mix.total > 1:
        gate: nn.Module = Gate(model.n_embd, mix.total, config.router.gate_hidden, config.router.gate_activation)
        flops += 2 * matrix_weights(gate)
    return flops
