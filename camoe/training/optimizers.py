"""The optimiser: one torch parameter group per (phase group, rate factor, weight decay, shape of Muon's matrices)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from camoe.config.optimizer import OptimizerConfig
from camoe.config.optional_library import require_optimizer_library
from camoe.training.held_weights import WHOLE, HeldWeights
from camoe.training.muon import MuonAdamW
from camoe.training.phases import Phase

# Source: RWKV-LM's training of RWKV-7 gives the decay's bias w0 twice the learning rate.
_DOUBLE_RATE = ".att.w0"

MUON_GROUPS = ("rwkv_backbone", "rwkv_experts", "transformer_experts")
"""Groups of hidden matrices. The bridge's factors are low-rank, critics small heads on what they may not change."""

NOTHING_STACKED: Mapping[str, int] = MappingProxyType({})


def rate_factor(name: str) -> float:
    """Learning-rate factor of one parameter by name."""
    return 2.0 if name.endswith(_DOUBLE_RATE) else 1.0


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Weight decay is for parameters named `*.weight` that are matrices, and for the gate's stacked `weight_in`.

    It leaves alone: vectors (a [1,n] matrix is one), the low-rank factors and r_k of TimeMix, the latents of
    DeepEmbedAttention, the bridge's positions, and the gate's `weight_out`, one vector per expert. Source of the rule:
    RWKV-LM's training of RWKV-7; `weight_in` stands for one Linear's weight per expert.
    """
    return name.endswith((".weight", ".gate.weight_in")) and sum(size > 1 for size in parameter.shape) >= 2


def matrix_of(
    config: OptimizerConfig, group: str, name: str, parameter: nn.Parameter, stacked: Mapping[str, int]
) -> tuple[int, int] | None:
    """Shape [m,n] of the matrices that Muon orthogonalises in a parameter, each by itself; None leaves it to AdamW.

    Muon takes the weight matrices of MUON_GROUPS that are wider than a vector. In the router that is the gate's stacked
    `weight_in`, one matrix per expert; rows that stand for one expert each are vectors. `stacked`: how many matrices
    lie on top of each other in a parameter of that name.
    """
    if config.kind != "muon" or not decays(name, parameter):
        return None
    if group not in MUON_GROUPS and not (config.muon_router and group == "router_gate" and name in stacked):
        return None
    rows, columns = parameter.shape[-2] // stacked.get(name, 1), parameter.shape[-1]
    return (rows, columns) if min(rows, columns) > 1 else None


def build_optimizer(
    config: OptimizerConfig,
    groups: Mapping[str, Mapping[str, nn.Parameter]],
    device_type: str,
    *,
    stacked: Mapping[str, int] = NOTHING_STACKED,
    precision: str = "fp32",
    weights: HeldWeights = WHOLE,
) -> torch.optim.Optimizer:
    """AdamW, or Muon and AdamW, over all groups; rates are set by `set_rates` before every step.

    `stacked`: see `matrix_of`. `precision`: train.precision, in which Muon multiplies matrices.
    ConfigError when `adamw8bit` lacks its library (Dettmers et al., 2022: blockwise 8-bit moments, float32 ones for
    tensors of fewer than 4,096 numbers).
    """
    torch_groups = _torch_groups(config, groups, stacked)
    adamw: dict[str, Any] = {"lr": 0.0, "betas": (config.beta1, config.beta2), "eps": config.eps}
    if config.kind == "adamw8bit":
        require_optimizer_library(config)
        from bitsandbytes.optim import AdamW8bit  # optional, and slow to import

        return AdamW8bit(torch_groups, **adamw)
    adamw["fused"] = device_type in ("cpu", "cuda")
    if config.kind == "muon":
        products = torch.bfloat16 if precision == "bf16" else None
        return MuonAdamW(torch_groups, momentum=config.muon_momentum, products=products, adamw=adamw, weights=weights)
    return torch.optim.AdamW(torch_groups, **adamw)


def _torch_groups(
    config: OptimizerConfig, groups: Mapping[str, Mapping[str, nn.Parameter]], stacked: Mapping[str, int]
) -> list[dict[str, Any]]:
    """One per phase group, rate factor, weight decay and shape of the matrices that Muon takes."""
    buckets: dict[tuple[str, float, bool, tuple[int, int] | None], list[nn.Parameter]] = defaultdict(list)
    for group, parameters in groups.items():
        for name, parameter in parameters.items():
            matrix = matrix_of(config, group, name, parameter, stacked)
            buckets[group, rate_factor(name), decays(name, parameter), matrix].append(parameter)
    return [
        {
            "params": parameters,
            "phase_group": group,
            "rate_factor": factor,
            "weight_decay": config.weight_decay if decay else 0.0,
            **({"matrix": matrix} if matrix else {}),
        }
        for (group, factor, decay, matrix), parameters in buckets.items()
    ]


def set_rates(optimizer: torch.optim.Optimizer, base_rate: float, phase: Phase) -> None:
    """Learning rate of every group: the scheduled base rate, the phase's multiplier, the parameter's factor."""
    multipliers = phase.config.multipliers()
    for group in optimizer.param_groups:
        group["lr"] = base_rate * multipliers[group["phase_group"]] * group["rate_factor"]


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, names: Mapping[Tensor, str], weights: HeldWeights = WHOLE
) -> dict[str, Tensor]:
    """The optimiser's state as 'parameter name|entry' tensors, none of which share memory; counters become int64."""
    tensors: dict[str, Tensor] = {}
    storages: set[int] = set()
    for parameter, entries in optimizer.state.items():
        for entry, value in entries.items():
            tensor = torch.as_tensor(value)
            address = weights.part(tensor).untyped_storage().data_ptr()
            tensors[f"{names[parameter]}|{entry}"] = tensor.clone() if address in storages else tensor
            storages.add(address)
    return tensors


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    names: Mapping[Tensor, str],
    tensors: Mapping[str, Tensor],
    weights: HeldWeights = WHOLE,
) -> None:
    """Put a copy of the saved state back, beside its parameter; a parameter that had none yet keeps none.

    The step counter goes to the parameter's device too, where fused AdamW wants it; one that was a number is one again.
    """
    parameters = {name: parameter for parameter, name in names.items()}
    optimizer.state.clear()
    for key, value in tensors.items():
        name, _, entry = key.partition("|")
        parameter = parameters[name]
        is_counter = value.dtype == torch.int64 and value.dim() == 0
        optimizer.state[parameter][entry] = int(value) if is_counter else weights.beside(value, parameter)
