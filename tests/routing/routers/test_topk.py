"""The top-k router against its rule written out token by token."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from camoe.config import ConfigError
from camoe.config.learned_router import LearnedRouterConfig
from camoe.routing.election_terms import LayerTerms
from camoe.routing.routers.topk import TopK
from tests.routing.routing_context import context

C, E = 8, 5


def _router(**settings: Any) -> TopK:
    torch.manual_seed(3)
    return TopK(LearnedRouterConfig(**settings), C, E)


def _ranked(bids: list[float]) -> list[int]:
    return sorted(range(len(bids)), key=lambda e: (-bids[e], e))


def _score(logits: list[float], expert: int, kind: str) -> float:
    if kind == "sigmoid":
        return 1 / (1 + math.exp(-logits[expert]))
    return math.exp(logits[expert]) / sum(math.exp(z) for z in logits)


@pytest.mark.parametrize("gate", ["confidence", "linear"])
@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
@pytest.mark.parametrize("rule", ["renormalized", "raw"])
@pytest.mark.parametrize("top_k", [1, 2, E])
def test_winners_and_weights_follow_the_rule(gate: str, score: str, rule: str, top_k: int) -> None:
    router = _router(gate=gate, score=score, weights=rule, top_k=top_k)
    h = torch.randn(2, 6, C)
    h[0, 0] = 0  # with the linear gate all experts tie
    decision = router(h, context(h), None)
    for logits, winners, weights, price in zip(
        router.gate(h).flatten(0, 1).tolist(),
        decision.experts.flatten(0, 1).tolist(),
        decision.weights.flatten(0, 1).tolist(),
        decision.price.flatten().tolist(),
        strict=True,
    ):
        ranked = _ranked(logits)
        assert winners == ranked[:top_k]
        assert price == (logits[ranked[top_k]] if top_k < E else 0.0)
        scores = [_score(logits, e, score) for e in winners]
        whole = sum(scores) if rule == "renormalized" and top_k > 1 else 1.0
        assert weights == pytest.approx([s / whole for s in scores], rel=1e-5)


def test_equal_logits_go_to_the_lower_index() -> None:
    router = _router(gate="linear", top_k=3)
    h = torch.zeros(1, 2, C)
    assert router(h, context(h), None).experts.tolist() == [[[0, 1, 2], [0, 1, 2]]]


@pytest.mark.parametrize("rule", ["renormalized", "raw"])
@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
@pytest.mark.parametrize("gate", ["confidence", "linear"])
@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_the_gate_learns_also_with_one_winner(rule: str, score: str, gate: str, top_k: int) -> None:
    """Trap: with one renormalised winner the weight is the constant 1, and the router's gradient 0."""
    router = _router(gate=gate, score=score, weights=rule, top_k=top_k)
    h = torch.randn(2, 6, C)
    decision = router(h, context(h), None)
    (decision.weights * torch.randn_like(decision.weights)).sum().backward()
    assert all(float(p.grad.norm()) > 1e-6 for p in router.parameters() if p.grad is not None)
    assert any(p.grad is not None for p in router.parameters())


def _literally_heard(logit: float, draw: float, kind: str, strength: float) -> float:
    uniform = 0.5 * (1 + math.erf(draw / math.sqrt(2)))
    if kind == "gaussian":
        return logit + strength * draw
    if kind == "jitter":
        return logit * (1 + strength * (2 * uniform - 1))
    return 0.0 if uniform < strength else logit / (1 - strength)


@pytest.mark.parametrize("kind", ["gaussian", "jitter", "dropout"])
@pytest.mark.parametrize("target", ["selection", "selection_and_weights"])
def test_noise_moves_the_selection_and_weights_only_where_asked(kind: str, target: str) -> None:
    router = _router(noise=kind, noise_std=0.4, noise_target=target, weights="raw")
    h, noise = torch.randn(2, 30, C), torch.randn(2, 30, E)
    decision, quiet = router(h, context(h, terms=LayerTerms(noise)), None), router(h, context(h), None)
    heard = torch.tensor(
        [
            [_literally_heard(z, n, kind, 0.4) for z, n in zip(*row, strict=True)]
            for row in zip(router.gate(h).flatten(0, 1).tolist(), noise.flatten(0, 1).tolist(), strict=True)
        ]
    ).view(2, 30, E)
    expected = heard.sort(dim=-1, descending=True, stable=True).indices[..., :2]
    assert torch.equal(decision.experts, expected)
    assert not torch.equal(decision.experts, quiet.experts)
    weighed_by = heard if target == "selection_and_weights" else router.gate(h)
    torch.testing.assert_close(decision.weights, torch.softmax(weighed_by, -1).gather(-1, expected))
    assert torch.equal(decision.adjusted_logits, router.gate(h))
    assert torch.equal(decision.gate_logits, router.gate(h))


def test_dropout_sets_the_stated_share_of_logits_to_zero_and_keeps_the_mean() -> None:
    from camoe.routing.logit_noise import noisy

    logits, noise = torch.ones(1, 4000, E), torch.randn(1, 4000, E, generator=torch.Generator().manual_seed(0))
    heard = noisy(logits, noise, "dropout", 0.25)
    assert float((heard == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert float(heard.mean()) == pytest.approx(1.0, abs=0.02)


def test_without_draws_or_strength_nothing_is_noisy() -> None:
    router, h = _router(noise_std=0.0), torch.randn(1, 4, C)
    noise: Tensor = torch.randn(1, 4, E)
    loud, quiet = router(h, context(h, terms=LayerTerms(noise)), None), router(h, context(h), None)
    assert torch.equal(loud.experts, quiet.experts)


def test_in_bfloat16_autocast_the_router_stays_in_float32() -> None:
    for gate in ("confidence", "linear"):
        router, h = _router(gate=gate), torch.randn(1, 4, C, dtype=torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            decision = router(h, context(h), None)
        assert decision.weights.dtype is decision.gate_logits.dtype is torch.float32


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"noise": "dropout", "noise_std": 1.0}, "router.noise_std: 1 "),
        ({"score": "sigmoid", "gate_activation": "sigmoid"}, "router.score: sigmoid"),
    ],
)
def test_refusals(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        LearnedRouterConfig(**settings)
