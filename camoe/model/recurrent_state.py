"""All that is needed to go on after a token: what `forward` returns and takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from camoe.config.model import ModelConfig
from camoe.model.key_value_cache import KeyValueCache


@dataclass(frozen=True)
class DeepEmbedCache:
    """What DeepEmbedAttention remembers of S tokens: 2 kv_dim numbers and an id each, and the last query.

    key_latents, value_latents: [B,S,kv_dim]. ids: [B,S] int64. query: [B,q_dim] before its token shift.
    """

    key_latents: Tensor
    value_latents: Tensor
    ids: Tensor
    query: Tensor

    @classmethod
    def empty(cls, config: ModelConfig, batch_size: int, like: Tensor) -> DeepEmbedCache:
        """No tokens yet; dtype and device of `like`."""
        latents = like.new_zeros(batch_size, 0, config.deep_embed_cache_dim)
        ids = torch.zeros(batch_size, 0, dtype=torch.int64, device=like.device)
        return cls(latents, latents, ids, like.new_zeros(batch_size, config.deep_embed_query_dim))

    def map(self, change: Callable[[Tensor], Tensor]) -> DeepEmbedCache:
        """Every tensor changed by `change`."""
        return DeepEmbedCache(
            change(self.key_latents), change(self.value_latents), change(self.ids), change(self.query)
        )


@dataclass(frozen=True)
class LayerState:
    """One layer's memory; its size does not grow with the tokens read, except for the caches of attention.

    channel_shift: [B,C] last input of the channel-mixing experts. time_shift: [B,C] last input of time mixing. wkv:
    [B,H,N,N], float32 or wider, row = value channel, column = key channel; both None in a layer with attention.
    attention: its keys and values, None in other layers and before the first token. dea: None without
    DeepEmbedAttention.
    """

    channel_shift: Tensor
    time_shift: Tensor | None = None
    wkv: Tensor | None = None
    attention: KeyValueCache | None = None
    dea: DeepEmbedCache | None = None

    @classmethod
    def zeros(cls, config: ModelConfig, batch_size: int, like: Tensor, *, attention: bool = False) -> LayerState:
        """Before the first token, in a layer with attention or with TimeMix.

        `like` gives device and dtype (the WKV state is float32 or wider).
        """
        shift = like.new_zeros(batch_size, config.n_embd)
        dea = DeepEmbedCache.empty(config, batch_size, like) if config.deep_embed_attention else None
        if attention:
            return cls(shift, dea=dea)
        n_head, size = config.n_embd // config.head_size, config.head_size
        wide = torch.promote_types(like.dtype, torch.float32)
        wkv = like.new_zeros(batch_size, n_head, size, size, dtype=wide)
        return cls(shift, shift, wkv, dea=dea)

    def map(self, change: Callable[[Tensor], Tensor]) -> LayerState:
        """Every tensor changed by `change`."""
        return LayerState(
            change(self.channel_shift),
            None if self.time_shift is None else change(self.time_shift),
            None if self.wkv is None else change(self.wkv),
            None if self.attention is None else self.attention.map(change),
            None if self.dea is None else self.dea.map(change),
        )


@dataclass(frozen=True)
class RecurrentState:
    """The states of all layers, first layer first. States are values: a forward pass returns a new one.

    tokens_read: [B] int64, how many tokens of each sequence came before.
    """

    layers: list[LayerState]
    tokens_read: Tensor

    @classmethod
    def zeros(cls, config: ModelConfig, batch_size: int, like: Tensor) -> RecurrentState:
        """The state before the first token of `batch_size` sequences; layers share theirs, for nobody writes to it."""
        attention = config.attention_layers
        layers = [LayerState.zeros(config, batch_size, like)] * config.n_layer
        if attention:
            empty = LayerState.zeros(config, batch_size, like, attention=True)
            layers = [empty if layer in attention else state for layer, state in enumerate(layers)]
        return cls(layers, torch.zeros(batch_size, dtype=torch.int64, device=like.device))

    def positions(self, length: int) -> Tensor:
        """[B,length] int64, positions of the next tokens in their sequences."""
        return self.tokens_read[:, None] + torch.arange(length, device=self.tokens_read.device)

    def map(self, change: Callable[[Tensor], Tensor]) -> RecurrentState:
        """Every tensor changed by `change`."""
        return RecurrentState([layer.map(change) for layer in self.layers], change(self.tokens_read))

    def detach(self) -> RecurrentState:
        """The same numbers, cut from the graph: truncated backpropagation through time."""
        return self.map(Tensor.detach)

    def to(self, device: torch.device | str) -> RecurrentState:
        """On another device."""
        return self.map(lambda tensor: tensor.to(device))

    def select(self, rows: Tensor) -> RecurrentState:
        """A copy with the sequences `rows` (int64 [B']) of the batch, in that order, repeated where asked."""
        return self.map(lambda tensor: tensor.index_select(0, rows))


def previous_tokens(x: Tensor, last: Tensor | None) -> Tensor:
    """x_{t-1} for every t, [B,T,C]: `last` [B,C] comes before the first token, zero where it is None."""
    if last is None:
        return functional.pad(x, (0, 0, 1, -1))
    before = last.unsqueeze(1)
    return before if x.shape[1] == 1 else torch.cat((before, x[:, :-1]), dim=1)


def last_token(x: Tensor) -> Tensor:
    """The last of tokens x [B,T,C] to be carried on, [B,C]: a copy, or a kept state would hold on to all of x."""
    last = x[:, -1]
    return last if x.shape[1] == 1 else last.clone()
