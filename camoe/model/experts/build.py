"""The experts of one layer, built from the expert mix."""

from __future__ import annotations

from collections.abc import Callable

from camoe.config.experts import ExpertsConfig
from camoe.config.model import ModelConfig
from camoe.model.experts.constant import Constant
from camoe.model.experts.copy import Copy
from camoe.model.experts.expert import Expert
from camoe.model.experts.gated_channel_mix import GatedChannelMix
from camoe.model.experts.gelu_ffn import GeluFeedForward
from camoe.model.experts.rwkv_ffn import RwkvFeedForward
from camoe.model.experts.swiglu import SwiGlu
from camoe.model.experts.transformer_prefix import TransformerPrefix
from camoe.model.experts.zero import Zero
from camoe.model.seeded_construction import seeded


def build_experts(layer_id: int, model: ModelConfig, mix: ExpertsConfig, *, seed: int, name: str) -> list[Expert]:
    """E experts, kind by kind; each starts from its own name, so mixes share the experts they share."""
    experts: list[Expert] = []
    for kind, count in mix.counts(attention=layer_id in model.attention_layers).items():
        for index in range(count):
            with seeded(seed, f"{name}.{kind}.{index}"):
                experts.append(_expert(kind, layer_id, model, mix))
    return experts


def build_shared_experts(
    layer_id: int, model: ModelConfig, mix: ExpertsConfig, *, seed: int, name: str
) -> list[Expert]:
    """The experts that serve every token beside the routed ones."""
    experts: list[Expert] = []
    for index in range(mix.shared):
        with seeded(seed, f"{name}.{mix.shared_kind}.{index}"):
            experts.append(_expert(mix.shared_kind, layer_id, model, mix))
    return experts


def _expert(kind: str, layer_id: int, model: ModelConfig, mix: ExpertsConfig) -> Expert:
    n_embd = model.n_embd
    if kind == "rwkv_ffn":
        hidden = mix.hidden_width(kind, n_embd)
        return RwkvFeedForward(n_embd, hidden, layer_id=layer_id, n_layer=model.n_layer, token_shift=mix.token_shift)
    if kind == "transformer_prefix":
        return TransformerPrefix(n_embd, model.head_size, model.prefix_len, model.low_rank)
    if kind in ("zero", "copy"):
        return Zero() if kind == "zero" else Copy()
    if kind == "constant":
        return Constant(n_embd)
    makers: dict[str, Callable[[int, int], Expert]] = {
        "swiglu": SwiGlu,
        "gelu_ffn": GeluFeedForward,
        "gated_channel_mix": GatedChannelMix,
    }
    return makers[kind](n_embd, mix.hidden_width(kind, n_embd))
