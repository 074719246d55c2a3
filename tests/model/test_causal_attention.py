"""Causal attention against sums written out, in any chunks, with gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from camoe.model.causal_attention import CausalAttention
from camoe.model.key_value_cache import KeyValueCache

C, N = 24, 8


def layer(rotary: bool, size: int = N, *, query_gain: bool = False) -> CausalAttention:
    """A layer whose weights are all alive."""
    attention = CausalAttention(C, size, rotary=rotary, query_gain=query_gain).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return attention


def inputs(n_batch: int, n_token: int) -> Tensor:
    generator = torch.Generator().manual_seed(n_token)
    return torch.randn(n_batch, n_token, C, generator=generator, dtype=torch.float64)


def positions(x: Tensor, start: int = 0) -> Tensor:
    return torch.arange(start, start + x.shape[1]).expand(x.shape[:2])


def turned(vector: Tensor, place: int) -> Tensor:
    """Rotary position by the definition: pair i, as a complex number, times e^(i place 10000^(-2i/N))."""
    half = len(vector) // 2
    entries = []
    for i in range(half):
        angle = place * 10_000 ** (-2 * i / len(vector))
        entries.append((vector[i], vector[i + half], math.cos(angle), math.sin(angle)))
    return torch.stack([a * c - b * s for a, b, c, s in entries] + [a * s + b * c for a, b, c, s in entries])


def unit(vector: Tensor) -> Tensor:
    return vector / (vector.square().sum() / len(vector) + torch.finfo(vector.dtype).eps).sqrt()


def attention_reference(attention: CausalAttention, x: Tensor) -> Tensor:
    """Token by token and head by head over everything read so far, [B,T,C]."""
    n_batch, n_token, width = x.shape
    size = attention.head_size
    w_q, w_k, w_v = attention.qkv.weight.split(width)
    rows = []
    for b in range(n_batch):
        for t in range(n_token):
            heads = []
            for start in range(0, width, size):
                part = slice(start, start + size)
                query, keys = w_q[part] @ x[b, t], [w_k[part] @ x[b, s] for s in range(t + 1)]
                if attention.query_gain is not None:
                    query = attention.query_gain[start // size] * unit(query)
                    keys = [unit(key) for key in keys]
                if attention.rotary:
                    query, keys = turned(query, t), [turned(key, s) for s, key in enumerate(keys)]
                scores = torch.stack([query @ key / math.sqrt(size) for key in keys])
                share = scores.exp() / scores.exp().sum()
                heads.append(sum(share[s] * (w_v[part] @ x[b, s]) for s in range(t + 1)))
            rows.append(attention.output.weight @ torch.cat(heads))
    return torch.stack(rows).view(n_batch, n_token, width)


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("n_kv_head", [1, 3])
def test_shared_heads_are_heads_with_equal_weights(rotary: bool, n_kv_head: int) -> None:
    """In values, in gradients, and when a cache goes on."""
    width, n_head, x = 4, 6, inputs(2, 7).requires_grad_()
    shared = CausalAttention(C, width, rotary=rotary, n_kv_head=n_kv_head).double()
    whole = layer(rotary, width)
    q, k, v = whole.qkv.weight.detach().split((C, C, C))
    first = torch.arange(C).view(n_kv_head, n_head // n_kv_head, width)[:, 0].flatten()  # of every group's heads
    alike = first.view(n_kv_head, 1, width).expand(-1, n_head // n_kv_head, -1).flatten()
    with torch.no_grad():
        whole.qkv.weight.copy_(torch.cat((q, k[alike], v[alike])))
        shared.qkv.weight.copy_(torch.cat((q, k[first], v[first])))
        shared.output.weight.copy_(whole.output.weight)
    outs = [attention(x, positions(x))[0] for attention in (shared, whole)]
    torch.testing.assert_close(*outs, rtol=1e-10, atol=1e-12)
    slopes = [torch.autograd.grad(out.sin().sum(), x)[0] for out in outs]
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        before, cache = shared(x[:, :4], positions(x[:, :4]))
        after, cache = shared(x[:, 4:], positions(x[:, 4:], 4), cache)
    assert cache.keys.shape == (2, n_kv_head, 7, width)
    torch.testing.assert_close(torch.cat((before, after), 1), outs[0].detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("gain", [False, True])
@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize(("size", "n_batch", "n_token"), [(8, 2, 7), (24, 1, 1), (12, 3, 5)])
def test_equals_the_reference_in_values_and_gradients(
    rotary: bool, gain: bool, size: int, n_batch: int, n_token: int
) -> None:
    attention, results = layer(rotary, size, query_gain=gain), []
    for compute in (lambda x: attention(x, positions(x))[0], lambda x: attention_reference(attention, x)):
        x = inputs(n_batch, n_token).requires_grad_()
        out = compute(x)
        weight = torch.arange(out.numel(), dtype=torch.float64).view(out.shape).sin()
        results.append((out, *torch.autograd.grad((out * weight).sum(), [x, *attention.parameters()])))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("pieces", [[1] * 13, [5, 1, 7], [12, 1], [3, 4, 6]])
def test_chunks_equal_the_whole_in_values_and_gradients(rotary: bool, grad: bool, pieces: list[int]) -> None:
    attention, x = layer(rotary), inputs(2, 13).requires_grad_(grad)
    with torch.set_grad_enabled(grad):
        whole, parts, cache = attention(x, positions(x))[0], [], None
        for piece, position in zip(x.split(pieces, dim=1), positions(x).split(pieces, dim=1), strict=True):
            out, cache = attention(piece, position, cache)
            parts.append(out)
        chunked = torch.cat(parts, dim=1)
    torch.testing.assert_close(chunked, whole, rtol=1e-10, atol=1e-12)
    assert cache is not None
    assert cache.length == 13
    if grad:  # through the cache, back into earlier chunks
        wanted = [x, *attention.parameters()]
        gradients = (torch.autograd.grad((out**2).sum(), wanted) for out in (chunked, whole))
        for found, expected in zip(*gradients, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n_before", [0, 4])
def test_nothing_comes_from_the_future(n_before: int) -> None:
    """Also when the chunk that holds the changed token meets a cache."""
    attention, x = layer(rotary=True), inputs(1, 11)
    earlier, position = x[:, :n_before], positions(x[:, n_before:], n_before)
    cache: KeyValueCache | None = attention(earlier, positions(earlier))[1] if n_before else None
    changed = x.clone()
    changed[:, 7] += 1
    before, after = (attention(tokens[:, n_before:], position, cache)[0] for tokens in (x, changed))
    first = 7 - n_before
    assert torch.equal(before[:, :first], after[:, :first])
    assert all(not torch.allclose(before[:, t], after[:, t]) for t in range(first, 11 - n_before))


@torch.no_grad()
def test_gained_queries_go_on_from_a_cache() -> None:
    attention, x = layer(rotary=True, query_gain=True), inputs(2, 9)
    whole = attention(x, positions(x))[0]
    before, cache = attention(x[:, :4], positions(x[:, :4]))
    after, _ = attention(x[:, 4:], positions(x[:, 4:], 4), cache)
    torch.testing.assert_close(torch.cat((before, after), 1), whole, rtol=1e-10, atol=1e-12)


def test_scores_are_a_gain_times_a_cosine_whatever_the_length_of_queries_and_keys() -> None:
    attention, x = layer(rotary=False, query_gain=True), inputs(2, 9)
    expected = attention(x, positions(x))[0]
    with torch.no_grad():
        attention.qkv.weight[: 2 * C] *= 7  # queries and keys
    torch.testing.assert_close(attention(x, positions(x))[0], expected, rtol=1e-10, atol=1e-12)
    fresh = CausalAttention(C, N, rotary=False, query_gain=True)
    assert fresh.query_gain is not None
    assert fresh.query_gain.tolist() == [1.5] * 3


def test_a_fresh_layer_adds_nothing_and_can_learn() -> None:
    attention = CausalAttention(C, N, rotary=False)
    x = torch.randn(2, 5, C)
    out, _ = attention(x, positions(x))
    assert torch.equal(out, torch.zeros(2, 5, C))
    out.sum().backward()
    assert float(attention.output.weight.grad.abs().sum()) > 0
    assert 0.4 / math.sqrt(C) < float(attention.qkv.weight.detach().abs().max()) <= 0.5 / math.sqrt(C)


def test_rotary_scores_depend_on_distance_alone() -> None:
    attention, x = layer(rotary=True), inputs(1, 1).expand(1, 9, C)
    shared = attention.qkv(x).unflatten(-1, (3, -1, N))[..., 0, 0, :]
    places = torch.stack([turned(vector, place) for place, vector in enumerate(shared[0].detach())])
    scores = places @ places.T
    for distance in range(9):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-10, atol=1e-12)
