"""What a model costs: parameters stored and active, and forward FLOPs per token by who serves."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from camoe.model.language_model import LanguageModel


@dataclass(frozen=True)
class ModelCost:
    """total_params: stored. active_params: those that serve one token when every winner is as likely as any other.

    expert_flops: [E] forward FLOPs of one expert for one token, the bridge included where it needs one. bridge_flops:
    the bridge's part; it runs once for a token even if several of the n_prefix Transformer experts won it. other_flops:
    forward FLOPs of all other matrices and of the WKV-7 recurrence, all layers and the head. A multiply-add counts two.

    Left out are norms and whatever else is done channel by channel; what a Transformer expert prepares once for all
    tokens of a forward (its factors); and DeepEmbedAttention's scores and mix, which grow with the context: 2
    (query_dim + C) FLOPs per layer for every token looked back at.
    """

    total_params: int
    active_params: int
    expert_flops: list[int]
    bridge_flops: int
    n_prefix: int
    other_flops: int

    def flops_per_token(self, n_layer: int, top_k: int) -> float:
        """Forward FLOPs per token when every set of top_k winners is as likely as any other."""
        n_expert = len(self.expert_flops)
        without_bridge = math.comb(n_expert - self.n_prefix, top_k) / math.comb(n_expert, top_k)
        repeated = top_k * self.n_prefix / n_expert - (1 - without_bridge)
        winners = top_k * sum(self.expert_flops) / n_expert
        return self.other_flops + n_layer * (winners - repeated * self.bridge_flops)


def model_cost(model: LanguageModel) -> ModelCost:
    """Cost of a model, which may lie on the meta device."""
    experts = model.blocks[0].mixture.expert_list()  # type: ignore[operator, union-attr]
    total = sum(parameter.numel() for parameter in model.parameters())
    stored_per_layer = sum(expert.num_params for expert in experts)
    idle = stored_per_layer * (1 - model.config.router.top_k / len(experts))
    bridge = model.bridge.flops_per_token if model.bridge is not None else 0
    return ModelCost(
        total_params=total,
        active_params=round(total - model.config.model.n_layer * idle),
        expert_flops=[expert.flops_per_token + (bridge if expert.needs_prefix else 0) for expert in experts],
        bridge_flops=bridge,
        n_prefix=sum(expert.needs_prefix for expert in experts),
        other_flops=_other_flops(model),
    )


def _other_flops(model: LanguageModel) -> int:
    """Two per weight of every matrix outside experts and bridge, plus the recurrence's 9 N per channel and layer.

    Of the latter, per number of the state: reading 2, decay 1, removal 2, writing 2, answering 2.
    """
    config = model.config.model
    head = model.config.tokenizer.vocab_size * config.n_embd
    per_layer = sum(
        _matrix_weights(part) for block in model.blocks for name, part in block.named_children() if name != "mixture"
    )
    routing = sum(_matrix_weights(part) for block in model.blocks for part in _beside_experts(block))
    state = 9 * config.head_size * config.n_embd * config.n_layer
    return 2 * (head + per_layer + routing) + state


def _beside_experts(block: nn.Module) -> list[nn.Module]:
    mixture: nn.Module = block.mixture  # type: ignore[assignment]
    return [part for name, part in mixture.named_children() if name != "experts"]


def _matrix_weights(module: nn.Module) -> int:
    """Weights of matrices, [1,n] included; vectors stored as [1,1,C] and embedding tables are left out."""
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    matrices = (p for p in module.parameters() if p.dim() == 2 and id(p) not in tables)
    return sum(parameter.numel() for parameter in matrices)
