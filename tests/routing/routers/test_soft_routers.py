"""learned_soft and modulo_prior against their formulas written out token by token."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from camoe.config.learned_router import ModuloPriorConfig, NoisyGateConfig
from camoe.routing.build import build_router
from camoe.routing.election_terms import LayerTerms
from camoe.routing.routers.modulo_prior import ModuloPrior
from tests.routing.routing_context import context

C = 8


def _softmax(values: list[float]) -> list[float]:
    largest = max(values)
    powers = [math.exp(value - largest) for value in values]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("gate", ["confidence", "linear"])
def test_learned_soft_weighs_all_experts_by_the_softmax_of_the_gate(gate: str) -> None:
    torch.manual_seed(0)
    router = build_router(NoisyGateConfig(kind="learned_soft", top_k=5, gate=gate), C, 5)
    h = torch.randn(2, 7, C)
    decision = router(h, context(h), None)
    for b, t in itertools.product(range(2), range(7)):
        expected = _softmax(router.gate(h)[b, t].tolist())
        assert decision.experts[b, t].tolist() == sorted(range(5), key=lambda e: -expected[e])
        served = dict(zip(decision.experts[b, t].tolist(), decision.weights[b, t].tolist(), strict=True))
        assert [served[e] for e in range(5)] == pytest.approx(expected, abs=1e-6)
    assert torch.equal(router.gate(h), decision.gate_logits)


def _prior_router(top_k: int, strength: float, n_expert: int = 4) -> ModuloPrior:
    torch.manual_seed(0)
    router = build_router(ModuloPriorConfig(top_k=top_k, prior_strength=strength), C, n_expert)
    assert isinstance(router, ModuloPrior)
    return router.double()


@pytest.mark.parametrize("strength", [0.0, 0.1, 2.0, 10.0])
@pytest.mark.parametrize("top_k", [1, 2, 4])
@pytest.mark.parametrize("noisy", [False, True])
def test_modulo_prior_adds_the_prior_to_log_p(strength: float, top_k: int, noisy: bool) -> None:
    router = _prior_router(top_k, strength)
    router.config.noise_std = 0.3
    h, tokens = torch.randn(2, 7, C, dtype=torch.float64), torch.randint(0, 999, (2, 7))
    noise = torch.randn(2, 7, 4, dtype=torch.float64) if noisy else None
    decision = router(h, context(h, terms=LayerTerms(noise), tokens=tokens), None)
    for b, t in itertools.product(range(2), range(7)):
        base = int(tokens[b, t]) % 4
        p = _softmax(router.gate(h)[b, t].tolist())
        w = _softmax([strength * (e == base) + math.log(p[e]) for e in range(4)])
        heard = [math.log(w[e]) + (0.0 if noise is None else 0.3 * float(noise[b, t, e])) for e in range(4)]
        ranked = sorted(range(4), key=lambda e: -heard[e])[:top_k]
        assert decision.experts[b, t].tolist() == ranked
        total = sum(w[e] for e in ranked) if top_k > 1 else 1.0
        assert decision.weights[b, t].tolist() == pytest.approx([w[e] / total for e in ranked], rel=1e-12)
        assert int(decision.base[b, t]) == base


def test_ties_of_the_gate_go_to_the_prior() -> None:
    router = _prior_router(1, 10.0)
    with torch.no_grad():
        for parameter in router.parameters():
            parameter.zero_()
    h, tokens = torch.randn(1, 8, C, dtype=torch.float64), torch.arange(8)[None]
    assert torch.equal(router(h, context(h, tokens=tokens), None).experts[..., 0], tokens % 4)


@pytest.mark.parametrize("strength", [10.0, 1e4])
def test_extreme_logits_stay_finite_where_log_p_would_not(strength: float) -> None:
    router = _prior_router(4, strength).float()
    with torch.no_grad():
        router.gate.bias_out.copy_(torch.tensor([900.0, -900.0, 0.0, 1.0]))
    h = torch.randn(1, 8, C, requires_grad=True)
    decision = router(h, context(h, tokens=torch.arange(8)[None]), None)
    assert torch.isfinite(decision.weights).all()
    torch.testing.assert_close(decision.weights.sum(-1), torch.ones(1, 8))
    (decision.weights * torch.randn_like(decision.weights)).sum().backward()
    assert torch.isfinite(h.grad).all()
    if strength == 10.0:  # 900 overrides it everywhere, 1e4 nowhere
        assert (decision.experts[..., 0] == 0).all()
    else:
        assert torch.equal(decision.experts[..., 0], decision.base)


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_the_gate_learns_in_spite_of_the_prior(top_k: int) -> None:
    router = _prior_router(top_k, 10.0)
    h = torch.randn(2, 7, C, dtype=torch.float64)
    decision = router(h, context(h), None)
    (decision.weights * torch.randn_like(decision.weights)).sum().backward()
    assert all(float(parameter.grad.norm()) > 0 for parameter in router.gate.parameters())
