"""Routers that learn nothing against their rules written out token by token."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from camoe.config.router import STATIC, WITHOUT_GATE
from camoe.config.schema_store import ROUTER_SCHEMAS
from camoe.model.seeded_construction import seeded
from camoe.routing.build import build_router
from camoe.routing.election_terms import LayerTerms
from camoe.routing.gate import Gate
from camoe.routing.keyed_hash import drawn_experts, mixed
from camoe.routing.learned_router import LearnedRouter
from camoe.routing.router import Router
from camoe.routing.static_router import StaticRouter
from tests.routing.routing_context import context

C, VOCAB = 8, 4096
SIZES = [(1, 1), (3, 2), (4, 1), (4, 2), (4, 4), (8, 4), (7, 3)]


def _router(kind: str, n_expert: int, top_k: int, name: str = "layer", seed: int = 0) -> Router:
    schema = ROUTER_SCHEMAS[kind]
    with seeded(seed, name):
        return build_router(schema(kind=kind, top_k=top_k, noise_std=0.5), C, n_expert)


def _winners(router: Router, tokens: Tensor, position: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
    h = torch.zeros(*tokens.shape, C)
    more = {} if position is None else {"position": position}
    return router(h, context(h, terms=LayerTerms(noise), tokens=tokens, **more), None).experts


def _literal_hash(x: int) -> int:
    """SplitMix64's finaliser on whole numbers."""
    x %= 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def _signed(x: int) -> int:
    return x - 2**64 if x >= 2**63 else x


def _literal_draw(key: int, salt: int, n_expert: int, top_k: int) -> list[int]:
    salted = _literal_hash(key + salt)
    hashes = [_signed(_literal_hash(salted + (e + 1) * 0x9E3779B97F4A7C15)) for e in range(n_expert)]
    return sorted(range(n_expert), key=lambda e: -hashes[e])[:top_k]


@pytest.mark.parametrize(("n_expert", "top_k"), SIZES)
def test_token_modulo_takes_the_id_and_the_experts_that_follow(n_expert: int, top_k: int) -> None:
    tokens = torch.randint(0, VOCAB, (2, 9), generator=torch.Generator().manual_seed(0))
    winners = _winners(_router("token_modulo", n_expert, top_k), tokens)
    for b, t in itertools.product(range(2), range(9)):
        assert winners[b, t].tolist() == [(int(tokens[b, t]) + j) % n_expert for j in range(top_k)]


@pytest.mark.parametrize(("n_expert", "top_k"), SIZES)
def test_token_hash_and_random_draw_by_the_literal_hash(n_expert: int, top_k: int) -> None:
    tokens = torch.randint(0, VOCAB, (2, 9), generator=torch.Generator().manual_seed(0))
    position = torch.arange(9).expand(2, 9) + torch.tensor([[0], [70_000]])
    for kind, keys in (("token_hash", tokens), ("random", position)):
        router = _router(kind, n_expert, top_k)
        winners = _winners(router, tokens, position)
        for b, t in itertools.product(range(2), range(9)):
            assert winners[b, t].tolist() == _literal_draw(int(keys[b, t]), router.salt, n_expert, top_k)


def test_the_hash_is_splitmix() -> None:
    numbers = [0, 1, -1, 2**62, -(2**63), 2**63 - 1, 12345]
    assert mixed(torch.tensor(numbers)).tolist() == [_signed(_literal_hash(number)) for number in numbers]


def test_random_in_training_takes_the_largest_noise() -> None:
    noise = torch.randn(2, 9, 5)
    winners = _winners(_router("random", 5, 2), torch.zeros(2, 9, dtype=torch.int64), noise=noise)
    for b, t in itertools.product(range(2), range(9)):
        assert winners[b, t].tolist() == sorted(range(5), key=lambda e: -float(noise[b, t, e]))[:2]


@pytest.mark.parametrize("kind", ["token_modulo", "token_hash", "random"])
@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_winners_are_distinct_and_weigh_the_same(kind: str, top_k: int) -> None:
    tokens = torch.randint(0, VOCAB, (3, 50))
    h = torch.randn(3, 50, C)
    decision = _router(kind, 4, top_k)(h, context(h, tokens=tokens), None)
    assert decision.experts.sort(-1).values.diff(dim=-1).gt(0).all()
    assert torch.equal(decision.weights, torch.full((3, 50, top_k), 1 / top_k))
    won = torch.zeros(3, 50, 4)
    for b, t in itertools.product(range(3), range(50)):
        won[b, t, decision.experts[b, t]] = 1
    assert torch.equal(decision.gate_logits, won)
    assert torch.equal(decision.adjusted_logits, won)
    assert not decision.selection_bias.any()
    assert not decision.price.any()


def test_dense_has_one_expert_and_one_winner() -> None:
    h = torch.randn(2, 5, C)
    decision = _router("dense", 1, 1)(h, context(h), None)
    assert torch.equal(decision.experts, torch.zeros(2, 5, 1, dtype=torch.int64))
    assert torch.equal(decision.weights, torch.ones(2, 5, 1))


def test_every_set_of_winners_is_as_likely_as_any_other() -> None:
    drawn = drawn_experts(torch.arange(12_000), 77, 4, 2)
    counts = Counter(tuple(pair) for pair in drawn.tolist())
    expected = 1000.0
    assert len(counts) == 12
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_square < 31.3  # 0.1 % of uniform draws exceed it at 11 degrees of freedom


def test_a_smaller_k_draws_the_first_of_a_larger_one() -> None:
    keys = torch.arange(100)
    assert torch.equal(drawn_experts(keys, 5, 8, 2), drawn_experts(keys, 5, 8, 5)[:, :2])


def _shared_counts(one: Tensor, other: Tensor, n_expert: int) -> Tensor:
    """[E,E], ids that go to expert i here and to expert j there."""
    return torch.bincount(one * n_expert + other, minlength=n_expert**2).view(n_expert, n_expert)


@pytest.mark.parametrize("change", ["layer", "seed"])
def test_two_hash_partitions_differ_by_more_than_a_renaming(change: str) -> None:
    """A renaming would fill one place of every row; independent partitions fill all places evenly."""
    other: dict[str, Any] = {"name": "next layer"} if change == "layer" else {"seed": 1}
    ids = torch.arange(VOCAB)[None]
    routers = _router("token_hash", 4, 1), _router("token_hash", 4, 1, **other)
    counts, even = _shared_counts(*(_winners(router, ids)[0, :, 0] for router in routers), 4), VOCAB / 16
    assert float((counts - even).abs().max()) < 5 * even**0.5
    modulo = [_winners(_router("token_modulo", 4, 1, name), ids)[0, :, 0] for name in ("layer", "next layer")]
    assert torch.equal(_shared_counts(*modulo, 4), torch.eye(4, dtype=torch.int64) * VOCAB // 4)


def test_the_same_layer_and_seed_draw_the_same() -> None:
    ids = torch.arange(VOCAB)[None]
    assert torch.equal(_winners(_router("token_hash", 4, 2), ids), _winners(_router("token_hash", 4, 2), ids))


@pytest.mark.parametrize("kind", WITHOUT_GATE)
def test_no_gate_means_no_parameters_and_no_state(kind: str) -> None:
    router = _router(kind, 4, 2)
    assert isinstance(router, StaticRouter)
    assert not router.state_dict()


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_frozen_elects_and_weighs_as_its_first_gate_and_gives_gradient_to_hidden_vectors_only(top_k: int) -> None:
    router = _router("frozen", 4, top_k)
    assert isinstance(router, LearnedRouter)
    with seeded(0, "layer"):
        gate = Gate(C, 4, 64, "identity")
    h, noise = torch.randn(2, 5, C, requires_grad=True), torch.randn(2, 5, 4)
    decision = router(h, context(h, terms=LayerTerms(noise)), None)
    for b, t in itertools.product(range(2), range(5)):
        logits = gate(h[b, t]).detach()
        ranked = sorted(range(4), key=lambda e: -float(logits[e] + 0.5 * noise[b, t, e]))[:top_k]
        assert decision.experts[b, t].tolist() == ranked
        weights = torch.softmax(logits[ranked] if top_k > 1 else logits, -1)
        torch.testing.assert_close(decision.weights[b, t], weights if top_k > 1 else weights[ranked])
    (decision.weights * torch.randn_like(decision.weights)).sum().backward()
    assert h.grad is not None
    assert float(h.grad.norm()) > 0
    assert all(parameter.grad is None for parameter in router.parameters())


def test_every_static_router_is_tested_here() -> None:
    assert set(STATIC) == {*WITHOUT_GATE, "frozen"}
