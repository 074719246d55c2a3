"""The cache of attention: a value to its users, one growing buffer underneath."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from camoe.model.key_value_cache import KeyValueCache


def tokens(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, n, 4, generator=generator), torch.randn(2, 3, n, 4, generator=generator)


def grown(pieces: list[int]) -> list[KeyValueCache]:
    """The caches after each piece."""
    caches: list[KeyValueCache] = []
    for seed, n in enumerate(pieces):
        caches.append(KeyValueCache.extended(caches[-1] if caches else None, *tokens(n, seed)))
    return caches


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("pieces", [[1] * 40, [30, *[1] * 40], [3, 50, 1, 1, 90]])
def test_every_cache_keeps_what_it_held(pieces: list[int], mode: type) -> None:
    with mode():
        caches = grown(pieces)
    for number, cache in enumerate(caches, 1):
        expected = [torch.cat(parts, dim=2) for parts in zip(*map(tokens, pieces[:number], range(number)), strict=True)]
        assert cache.length == sum(pieces[:number])
        assert torch.equal(cache.keys, expected[0])
        assert torch.equal(cache.values, expected[1])


@torch.no_grad()
def test_two_continuations_of_one_state_do_not_meet() -> None:
    start = grown([5, 1])[-1]
    one = KeyValueCache.extended(start, *tokens(2, seed=7))
    other = KeyValueCache.extended(start, *tokens(2, seed=8))
    once_more = KeyValueCache.extended(one, *tokens(1, seed=9))
    assert torch.equal(one.keys[:, :, 6:], tokens(2, seed=7)[0])
    assert torch.equal(other.keys[:, :, 6:], tokens(2, seed=8)[0])
    assert torch.equal(once_more.keys[:, :, :8], one.keys)
    assert torch.equal(start.keys, one.keys[:, :, :6])


@torch.no_grad()
def test_single_tokens_are_written_behind_the_others_and_the_room_stays_small() -> None:
    caches = grown([1] * 2000)
    addresses = [cache.keys.untyped_storage().data_ptr() for cache in caches]
    moves = sum(one != other for one, other in pairwise(addresses))
    assert moves < 15
    for cache in caches[100:]:
        assert cache.keys.untyped_storage().nbytes() <= 1.5 * cache.keys.numel() * 4
    first = grown([64])[0]
    assert first.keys.untyped_storage().nbytes() == first.keys.numel() * 4


def test_a_cache_made_in_inference_mode_goes_on_outside() -> None:
    with torch.inference_mode():
        cache = grown([4, 1])[-1]
    with torch.no_grad():
        without = KeyValueCache.extended(cache, *tokens(1, seed=5))
    keys, values = (part.requires_grad_() for part in tokens(1, seed=5))
    with_gradients = KeyValueCache.extended(cache, keys, values)
    assert torch.equal(without.keys, with_gradients.keys)
    with_gradients.keys.sum().backward()
    assert torch.equal(keys.grad, torch.ones_like(keys))


@torch.no_grad()
def test_a_selected_cache_has_a_life_of_its_own() -> None:
    cache = grown([3, 1])[-1]
    chosen = cache.map(lambda tensor: tensor.index_select(0, torch.tensor([1, 1, 0])))
    longer = KeyValueCache.extended(chosen, *(part[[1, 0, 0]] for part in tokens(1, seed=5)))
    assert torch.equal(longer.keys[:, :, :4], cache.keys[[1, 1, 0]])
    detached = cache.map(Tensor.detach)  # shares the memory, but not the right to write behind it
    KeyValueCache.extended(detached, *tokens(1, seed=6))
    again = KeyValueCache.extended(cache, *tokens(1, seed=7))
    assert torch.equal(again.keys[:, :, 4:], tokens(1, seed=7)[0])
