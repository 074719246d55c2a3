"""Scale of the language model: width, depth and the low-rank bridge."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.layer_schedule import LAYER_SCHEDULES, scheduled_layers
from camoe.config.refusal import ConfigError
from camoe.config.setting import setting

DYNAMICS = ("none", "pid", "mu_pull")


@dataclass(kw_only=True)
class ModelConfig:
    """Widths, depth and optional parts of the language model."""

    n_embd: int = setting(128, help="channels C of the residual stream", low=1)
    n_layer: int = setting(4, help="blocks L", low=1, high=4096)
    head_size: int = setting(32, help="channels N of one WKV-7 head: 16, 32, 64 or 128", low=1)
    tie_embeddings: bool = setting(True, help="head shares the embedding matrix")
    prefix_len: int = setting(8, help="rows P of the prefix a Transformer expert attends to", low=1)
    low_rank: int = setting(16, help="rank r of the bridge from the RWKV state to the prefix", low=1)
    dynamics: str = setting(
        "none",
        help="pull of the residual stream to a learned point: none, pid (velocity over depth), mu_pull (without)",
        options=DYNAMICS,
    )
    residual_scales: bool = setting(
        False,
        help="learned scales per channel of stream, embedding in it and what is added; norms without any",
    )
    skip_connections: bool = setting(
        False, help="layers of the second half hear those of the first again, last first, each with learned scales"
    )
    deep_embed_attention: bool = setting(
        False, help="add DeepEmbedAttention beside time mixing (or attention) in every block"
    )
    deep_embed_shared: bool = setting(True, help="all layers share the DeepEmbed tables k_emb and v_emb")
    deep_embed_query_dim: int = setting(256, help="query width of DeepEmbedAttention", low=1)
    deep_embed_cache_dim: int = setting(32, help="width of the cached key and value latents", low=1)
    layers: str = setting(
        "all_rwkv", help="where causal attention replaces RWKV-7 time mixing", options=LAYER_SCHEDULES
    )
    attention_ratio: float = setting(
        0.25, help="share of layers with attention (top, interleave, hybrid)", above=0, high=1
    )
    attention_period: int = setting(4, help="spacing p of layers=interleave and hybrid: p-1, 2p-1, ...", low=1)
    attention_indices: list[int] | None = setting(None, help="0-based attention layers of layers=explicit")
    attention_kv_heads: int | None = setting(
        None,
        help="heads of keys and values in attention layers, each shared by several of queries; null: as many",
        low=1,
    )
    attention_rotary: bool = setting(False, help="rotary positions in the attention layers (CDRmix has none)")
    attention_query_gain: bool = setting(
        False, help="queries and keys of attention layers at root mean square 1, each query head times a learned gain"
    )

    def __post_init__(self) -> None:
        if self.head_size not in (16, 32, 64, 128):
            raise ConfigError(f"model.head_size: {self.head_size} is not allowed; must be 16, 32, 64 or 128")
        if self.n_embd % self.head_size:
            raise ConfigError(
                f"model.n_embd: {self.n_embd} is not a multiple of model.head_size {self.head_size}; "
                f"nearest is {max(1, round(self.n_embd / self.head_size)) * self.head_size}"
            )
        n_head = self.n_embd // self.head_size
        if self.attention_kv_heads is not None and n_head % self.attention_kv_heads:
            fitting = [number for number in range(1, n_head + 1) if n_head % number == 0]
            raise ConfigError(
                f"model.attention_kv_heads: {self.attention_kv_heads} does not divide the {n_head} heads of queries "
                f"(model.n_embd / model.head_size); must be one of {', '.join(map(str, fitting))}"
            )
        self.attention_layers  # noqa: B018 (refuses a schedule that cannot be met)

    @property
    def attention_layers(self) -> tuple[int, ...]:
        """The layers, 0-based and rising, whose block has causal attention in place of TimeMix."""
        return scheduled_layers(
            self.layers, self.n_layer, self.attention_ratio, self.attention_period, self.attention_indices
        )

    @property
    def rwkv_layers(self) -> tuple[int, ...]:
        """All other layers, whose block has TimeMix."""
        attention = self.attention_layers
        return tuple(layer for layer in range(self.n_layer) if layer not in attention)
