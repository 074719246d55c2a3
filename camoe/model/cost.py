"""What a model costs: parameters stored and active, and forward FLOPs per token by who serves."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from camoe.model.language_model import LanguageModel


@dataclass(frozen=True)
class ModelCost:
    """total_params: stored. active_params: those that serve one token when every winner is as likely as any other.

    expert_flops: [E] forward FLOPs of one expert for one token, its share of the bridge included. other_flops: forward
    FLOPs of all other matrices and of the WKV-7 recurrence, all layers and the head. A multiply-add counts two.

    Left out are norms and whatever else is done channel by channel, and DeepEmbedAttention's scores and mix, which grow
    with the context: 2 (query_dim + C) FLOPs per layer for every token looked back at.
    """

    total_params: int
    active_params: int
    expert_flops: list[int]
    other_flops: int

    def flops_per_token(self, n_layer: int, top_k: int) -> float:
        """Forward FLOPs per token under an even load."""
        return self.other_flops + n_layer * top_k * sum(self.expert_flops) / len(self.expert_flops)


def model_cost(model: LanguageModel) -> ModelCost:
    """Cost of a model, which may lie on the meta device.

    The bridge runs once for a token, so where two Transformer experts win it is counted once too often.
    """
    experts = model.blocks[0].mixture.expert_list()  # type: ignore[operator, union-attr]
    bridge = model.bridge.flops_per_token if model.bridge is not None else 0
    expert_flops = [expert.flops_per_token + (bridge if expert.needs_prefix else 0) for expert in experts]
    total = sum(parameter.numel() for parameter in model.parameters())
    stored_per_layer = sum(expert.num_params for expert in experts)
    idle = stored_per_layer * (1 - model.config.router.top_k / len(experts))
    return ModelCost(total, round(total - model.config.model.n_layer * idle), expert_flops, _other_flops(model))


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
