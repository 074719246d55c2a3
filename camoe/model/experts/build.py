"""The experts of one layer, built from the expert mix."""

from __future__ import annotations

from camoe.config.experts import ExpertsConfig
from camoe.config.model import ModelConfig
from camoe.model.experts.expert import Expert
from camoe.model.experts.rwkv_ffn import RwkvFeedForward
from camoe.model.experts.transformer_prefix import TransformerPrefix
from camoe.model.seeded_construction import seeded


def build_experts(layer_id: int, model: ModelConfig, mix: ExpertsConfig, *, seed: int, name: str) -> list[Expert]:
    """E experts, RWKV experts first; each starts from its own name, so mixes share the experts they share."""
    experts: list[Expert] = []
    for index in range(mix.rwkv_ffn):
        with seeded(seed, f"{name}.rwkv_ffn.{index}"):
            experts.append(
                RwkvFeedForward(
                    model.n_embd,
                    mix.hidden_ratio * model.n_embd,
                    layer_id=layer_id,
                    n_layer=model.n_layer,
                    token_shift=mix.token_shift,
                )
            )
    for index in range(mix.transformer_prefix):
        with seeded(seed, f"{name}.transformer_prefix.{index}"):
            experts.append(TransformerPrefix(model.n_embd, model.head_size, model.prefix_len, model.low_rank))
    return experts
