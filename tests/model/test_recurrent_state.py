"""The recurrent state: zero at the start, moved, cut and reordered as one."""

from __future__ import annotations

import torch

from camoe.config.model import ModelConfig
from camoe.model.key_value_cache import KeyValueCache
from camoe.model.recurrent_state import DeepEmbedCache, LayerState, RecurrentState, previous_tokens

CONFIG = ModelConfig(n_embd=32, n_layer=3, head_size=16, deep_embed_attention=True)


def tensors(state: RecurrentState) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    state.map(lambda tensor: found.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return found


def random_state() -> RecurrentState:
    like = torch.zeros(1)
    layers = []
    for layer in RecurrentState.zeros(CONFIG, 3, like).layers:
        filled = layer.map(lambda t: torch.randn(t.shape, requires_grad=True) if t.is_floating_point() else t)
        layers.append(filled)
    return RecurrentState(layers, torch.tensor([4, 0, 7]))


def test_zeros() -> None:
    state = RecurrentState.zeros(CONFIG, 2, torch.zeros(1, dtype=torch.bfloat16))
    assert len(state.layers) == 3
    layer = state.layers[0]
    assert layer.time_shift.shape == layer.channel_shift.shape == (2, 32)
    assert layer.time_shift.dtype == torch.bfloat16
    assert layer.wkv.shape == (2, 2, 16, 16)
    assert layer.wkv.dtype == torch.float32
    assert layer.dea is not None
    assert layer.dea.ids.shape == (2, 0)
    assert all(torch.all(tensor == 0) for tensor in tensors(state))


def test_without_attention_there_is_no_cache_and_float64_stays() -> None:
    layer = LayerState.zeros(ModelConfig(n_embd=32, n_layer=1, head_size=16), 1, torch.zeros(1, dtype=torch.float64))
    assert layer.dea is None
    assert layer.map(torch.clone).dea is None
    assert layer.wkv.dtype == torch.float64


def test_layers_with_attention_remember_no_time_mixing() -> None:
    config = ModelConfig(
        n_embd=32, n_layer=4, head_size=16, layers="interleave", attention_ratio=0.5, attention_period=2
    )
    state = RecurrentState.zeros(config, 2, torch.zeros(1))
    assert [layer.wkv is None for layer in state.layers] == [False, True, False, True]
    assert [layer.time_shift is None for layer in state.layers] == [False, True, False, True]
    keys = torch.randn(2, 2, 5, 16)
    read = RecurrentState([LayerState(torch.zeros(2, 32), attention=KeyValueCache(keys, -keys))], state.tokens_read)
    chosen = read.select(torch.tensor([1, 1, 0])).layers[0].attention
    assert chosen is not None
    assert torch.equal(chosen.keys, keys[[1, 1, 0]])
    assert torch.equal(chosen.values, -keys[[1, 1, 0]])


def test_detach_cuts_every_tensor() -> None:
    state = random_state()
    assert any(tensor.requires_grad for tensor in tensors(state))
    cut = state.detach()
    assert not any(tensor.requires_grad for tensor in tensors(cut))
    assert all(torch.equal(a, b) for a, b in zip(tensors(state), tensors(cut), strict=True))


def test_select_takes_rows_of_every_tensor() -> None:
    state = random_state()
    rows = torch.tensor([2, 0, 0])
    for before, after in zip(tensors(state), tensors(state.select(rows)), strict=True):
        assert torch.equal(after, before[rows])


def test_to_keeps_dtypes() -> None:
    moved = RecurrentState.zeros(CONFIG, 1, torch.zeros(1, dtype=torch.bfloat16)).to("meta")
    assert all(tensor.is_meta for tensor in tensors(moved))
    assert moved.layers[0].wkv.dtype == torch.float32


def test_previous_tokens() -> None:
    x = torch.arange(6.0).view(1, 3, 2)
    assert torch.equal(previous_tokens(x, None), torch.tensor([[[0.0, 0], [0, 1], [2, 3]]]))
    assert torch.equal(previous_tokens(x, torch.tensor([[8.0, 9]])), torch.tensor([[[8.0, 9], [0, 1], [2, 3]]]))


def test_an_empty_cache_belongs_to_its_configuration() -> None:
    cache = DeepEmbedCache.empty(CONFIG, 2, torch.zeros(1))
    assert cache.key_latents.shape == (2, 0, CONFIG.deep_embed_cache_dim)
    assert cache.query.shape == (2, CONFIG.deep_embed_query_dim)
