"""What a model costs: parameters stored and active, and forward FLOPs per token, room by room."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from camoe.config.experts import KINDS
from camoe.model.rooms import OF_THE_MODEL, ModelParts, room_modules

LEARNING = 3
"""Forward passes that a training token costs: its own, and a backward of two, for inputs and for weights (Kaplan et al.
2020, section 2.1). Computing again to save memory is not counted; what is frozen counts as if it learned."""
WHERE_EXPERTS_SERVE = (*KINDS, "bridge")


@dataclass(frozen=True)
class RoomCost:
    """One room, all layers. flops: forward FLOPs per token; both `active_` under an even load, the others with every
    expert serving every token."""

    params: int
    active_params: float
    flops: float
    active_flops: float


@dataclass(frozen=True)
class ModelCost:
    """total_params: stored. active_params: those that serve one token when every winner is as likely as any other.

    expert_flops: [L][E] forward FLOPs of one expert for one token, the bridge included where it needs one.
    bridge_flops: the bridge's part; it runs once for a token even if several of the n_prefix Transformer experts won
    it. other_flops: forward FLOPs of all other matrices, shared experts included, of the WKV-7 recurrence and of
    attention's scores and mix, all layers and the head. A multiply-add counts two.

    Scores and mix grow with the context: they are counted at the mean over a training sequence, where a token sees
    (ctx_len + 1) / 2, itself included; what lies in the future is not counted, computed or not. Left out are norms and
    whatever else is done channel by channel, and what a Transformer expert prepares once for all tokens of a forward
    (its factors).
    """

    total_params: int
    active_params: int
    expert_flops: list[list[int]]
    bridge_flops: int
    n_prefix: int
    other_flops: int

    def flops_per_token(self, n_layer: int, top_k: int) -> float:
        """Forward FLOPs per token when every set of top_k winners is as likely as any other."""
        n_expert = len(self.expert_flops[0])
        repeated = top_k * self.n_prefix / n_expert - share_of_bridged(n_expert, self.n_prefix, top_k)
        winners = top_k * sum(map(sum, self.expert_flops)) / (n_expert * len(self.expert_flops))
        return self.other_flops + n_layer * (winners - repeated * self.bridge_flops)


def share_of_bridged(n_expert: int, n_prefix: int, top_k: int) -> float:
    """Share of tokens that any Transformer expert serves, when every set of winners is as likely as any other."""
    return 1 - math.comb(n_expert - n_prefix, top_k) / math.comb(n_expert, top_k)


def model_cost(model: ModelParts) -> ModelCost:
    """Cost of a model, which may lie on the meta device."""
    layers = [block.mixture.expert_list() for block in model.blocks]  # type: ignore[operator, union-attr]
    bridge, rooms = model.bridge.flops_per_token if model.bridge is not None else 0, room_costs(model)
    return ModelCost(
        total_params=sum(cost.params for cost in rooms.values()),
        active_params=round(sum(cost.active_params for cost in rooms.values())),
        expert_flops=[
            [expert.flops_per_token + (bridge if expert.needs_prefix else 0) for expert in experts]
            for experts in layers
        ],
        bridge_flops=bridge,
        n_prefix=model.config.experts.transformer_prefix,
        other_flops=round(sum(cost.flops for name, cost in rooms.items() if name not in WHERE_EXPERTS_SERVE)),
    )


def head_share(model: ModelParts) -> float:
    """The head's part of a forward pass, under an even load."""
    whole = model_cost(model).flops_per_token(model.config.model.n_layer, model.config.router.top_k)
    return room_costs(model)["head_loss"].flops / whole


def room_costs(model: ModelParts) -> dict[str, RoomCost]:
    """Cost of every room of the model that is not empty; tied embeddings are stored in the first of their rooms."""
    params, flops = _stored(model), _flops(model)
    mix, winners = model.config.experts, model.config.router.top_k
    share = winners / mix.total
    bridged = share_of_bridged(mix.total, mix.transformer_prefix, winners)
    served = {**dict.fromkeys(KINDS, share), "bridge": bridged}
    return {
        name: RoomCost(
            params[name],
            params[name] * (share if name in KINDS else 1),
            flops[name],
            flops[name] * served.get(name, 1),
        )
        for name in OF_THE_MODEL
        if params[name] or flops[name]
    }


def _stored(model: ModelParts) -> dict[str, int]:
    """Parameters by room."""
    owner: dict[int, str] = {}
    for name, module in room_modules(model):
        for parameter in module.parameters():
            owner[id(parameter)] = name
    stored = dict.fromkeys(OF_THE_MODEL, 0)
    for parameter in model.parameters():
        stored[owner[id(parameter)]] += parameter.numel()
    return stored


def _flops(model: ModelParts) -> dict[str, int]:
    """Forward FLOPs per token by room, every expert serving: two per weight of every matrix, the recurrence's 9 N per
    channel and layer, and what attention does with the tokens it sees.

    Of the recurrence, per number of the state: reading 2, decay 1, removal 2, writing 2, answering 2. Of attention, per
    token seen: two per channel of the query for its score, two per channel of the value for the mix.
    """
    config = model.config.model
    flops = dict.fromkeys(OF_THE_MODEL, 0)
    for name, module in room_modules(model):
        if name in KINDS or name == "shared_experts":
            flops[name] += module.flops_per_token  # type: ignore[assignment, operator]
        elif name in ("time_mix", "attention", "deep_embed_attention", "router", "critic"):
            flops[name] += 2 * matrix_weights(module)
    if model.bridge is not None:
        flops["bridge"] = model.bridge.flops_per_token * config.n_layer
    flops["time_mix"] += 9 * config.head_size * config.n_embd * len(config.rwkv_layers)
    tokens_seen = model.config.train.ctx_len + 1  # twice the mean, as a multiply-add counts two
    flops["attention"] += 2 * config.n_embd * tokens_seen * len(config.attention_layers)
    if config.deep_embed_attention:
        flops["deep_embed_attention"] += (config.deep_embed_query_dim + config.n_embd) * tokens_seen * config.n_layer
    flops["head_loss"] = 2 * model.config.tokenizer.vocab_size * config.n_embd
    return flops


def matrix_weights(module: nn.Module) -> int:
    """Weights of matrices, [1,n] included; vectors stored as [1,1,C] and embedding tables are left out."""
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    matrices = (p for p in module.parameters() if p.dim() == 2 and id(p) not in tables)
    return sum(parameter.numel() for parameter in matrices)
