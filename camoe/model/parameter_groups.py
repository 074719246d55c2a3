"""Which parameter belongs to which of the groups that phases train at their own rates."""

from __future__ import annotations

import re

from torch import nn

from camoe.config.phase import PARAMETER_GROUPS
from camoe.model.causal_attention import CausalAttention
from camoe.routing.gate import Gate

# First match wins. The names are those of LanguageModel.named_parameters().
_RULES: tuple[tuple[str, str], ...] = (
    (r"^(emb|head)\.", "embedding_head"),
    (r"^tables\.", "embedding_head"),
    (r"^bridge\.", "bridge"),
    (r"\.mixture\.router\.", "router_gate"),
    (r"\.mixture\.critic\.", "critic"),
    (r"\.mixture\.(experts|shared)\.\d+\.", "experts"),
    (r"^(blocks\.\d+\.(att|attention|dea|dynamics|residual|skip|ln1|ln2)|ln0|ln_out)\.", "rwkv_backbone"),
)


def group_of(name: str, transformer_experts: frozenset[str]) -> str:
    """The group of one parameter; `transformer_experts` holds the module names of the Transformer experts."""
    for pattern, group in _RULES:
        if re.search(pattern, name):
            if group != "experts":
                return group
            module = re.match(r".*\.(experts|shared)\.\d+", name)
            assert module is not None
            return "transformer_experts" if module.group() in transformer_experts else "rwkv_experts"
    raise AssertionError(f"parameter {name} belongs to no group")


def parameter_groups(model: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """Every trainable parameter by group and name; each stands in exactly one group."""
    transformer = frozenset(name for name, module in model.named_modules() if getattr(module, "needs_prefix", False))
    groups: dict[str, dict[str, nn.Parameter]] = {group: {} for group in PARAMETER_GROUPS}
    for name, parameter in model.named_parameters():
        groups[group_of(name, transformer)][name] = parameter
    return groups


def stacked_matrices(model: nn.Module) -> dict[str, int]:
    """How many matrices lie on top of each other in a parameter, by the names of those that hold several."""
    stacked = {}
    for name, module in model.named_modules():
        if isinstance(module, Gate):
            stacked[f"{name}.weight_in"] = module.n_expert
        elif isinstance(module, CausalAttention):
            stacked[f"{name}.qkv.weight"] = module.n_head // module.n_kv_head + 2  # as tall as keys and values
    return stacked
