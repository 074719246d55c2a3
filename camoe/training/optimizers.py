"""The optimiser: one torch parameter group per (phase group, rate factor, weight decay)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from camoe.config.optimizer import OptimizerConfig
from camoe.config.optional_library import require_optimizer_library
from camoe.training.phases import Phase

# Source: RWKV-LM's training of RWKV-7 gives the decay's bias w0 twice the learning rate.
_DOUBLE_RATE = ".att.w0"


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


def build_optimizer(
    config: OptimizerConfig, groups: Mapping[str, Mapping[str, nn.Parameter]], device_type: str
) -> torch.optim.Optimizer:
    """AdamW over all groups; rates are set by `set_rates` before every step.

    ConfigError when `adamw8bit` lacks its library (Dettmers et al., 2022: blockwise 8-bit moments, float32 ones for
    tensors of fewer than 4,096 numbers).
    """
    buckets: dict[tuple[str, float, bool], list[nn.Parameter]] = defaultdict(list)
    for group, parameters in groups.items():
        for name, parameter in parameters.items():
            buckets[group, rate_factor(name), decays(name, parameter)].append(parameter)
    torch_groups = [
        {
            "params": parameters,
            "phase_group": group,
            "rate_factor": factor,
            "weight_decay": config.weight_decay if decay else 0.0,
        }
        for (group, factor, decay), parameters in buckets.items()
    ]
    betas = (config.beta1, config.beta2)
    if config.kind == "adamw8bit":
        require_optimizer_library(config)
        from bitsandbytes.optim import AdamW8bit  # optional, and slow to import

        return AdamW8bit(torch_groups, lr=0.0, betas=betas, eps=config.eps)
    return torch.optim.AdamW(torch_groups, lr=0.0, betas=betas, eps=config.eps, fused=device_type in ("cpu", "cuda"))


def set_rates(optimizer: torch.optim.Optimizer, base_rate: float, phase: Phase) -> None:
    """Learning rate of every group: the scheduled base rate, the phase's multiplier, the parameter's factor."""
    multipliers = phase.config.multipliers()
    for group in optimizer.param_groups:
        group["lr"] = base_rate * multipliers[group["phase_group"]] * group["rate_factor"]


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: Mapping[Tensor, str]) -> dict[str, Tensor]:
    """The optimiser's state as 'parameter name|entry' tensors, none of which share memory; counters become int64."""
    tensors: dict[str, Tensor] = {}
    storages: set[int] = set()
    for parameter, entries in optimizer.state.items():
        for entry, value in entries.items():
            tensor = torch.as_tensor(value)
            address = tensor.untyped_storage().data_ptr()
            tensors[f"{names[parameter]}|{entry}"] = tensor.clone() if address in storages else tensor
            storages.add(address)
    return tensors


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: Mapping[Tensor, str], tensors: Mapping[str, Tensor]
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
        optimizer.state[parameter][entry] = int(value) if is_counter else value.to(parameter.device, copy=True)
