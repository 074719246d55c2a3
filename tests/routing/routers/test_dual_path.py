"""The dual-path router against its rule applied token by token."""

import pytest
import torch

from camoe.config.router import RouterConfig
from camoe.economy.critic import CriticOpinion
from camoe.economy.published_quote import PublishedQuote
from camoe.routing.election_terms import LayerTerms
from camoe.routing.routers.dual_path import DualPath
from tests.routing.routing_context import context

C = 8


def _quote(n_expert: int, alpha: float = 0.7) -> PublishedQuote:
    share = torch.arange(1.0, n_expert + 1)
    return PublishedQuote(share / share.sum(), torch.tensor(alpha), torch.tensor(0.5), 0.05)


def _opinion(n_expert: int) -> CriticOpinion:
    return CriticOpinion(torch.rand(2, 5), torch.randn(2, 5, n_expert))


@pytest.mark.parametrize(("n_expert", "top_k"), [(2, 1), (3, 2), (4, 2), (8, 4), (4, 4)])
@pytest.mark.parametrize("noisy", [False, True])
def test_election_price_and_weights_follow_the_rule(n_expert: int, top_k: int, noisy: bool) -> None:
    torch.manual_seed(n_expert)
    router = DualPath(RouterConfig(top_k=top_k, noise_std=0.5), C, n_expert)
    h, quote, opinion = torch.randn(2, 5, C), _quote(n_expert), _opinion(n_expert)
    noise = torch.randn(2, 5, n_expert) if noisy else None
    decision = router(h, context(h, quote, LayerTerms(noise)), opinion)
    gate = router.gate(h).detach()
    for b in range(2):
        for t in range(5):
            bids = []
            for e in range(n_expert):
                wealth = float(quote.capital_share[e]) * (1 + float(opinion.difficulty[b, t]))
                bias = 0.7 * (wealth + 0.05 * float(opinion.affinity[b, t, e]) * 0.5)
                jitter = 0.5 * float(noise[b, t, e]) if noise is not None else 0.0
                bids.append(float(gate[b, t, e]) + bias + jitter)
            ranked = sorted(range(n_expert), key=lambda e: -bids[e])
            assert decision.experts[b, t].tolist() == ranked[:top_k]
            price = bids[ranked[top_k]] if top_k < n_expert else 0.0
            assert float(decision.price[b, t]) == pytest.approx(price, abs=1e-5)
            scores = torch.softmax(gate[b, t, ranked[:top_k]] if top_k > 1 else gate[b, t], -1)
            expected = scores if top_k > 1 else scores[ranked[0]].unsqueeze(0)
            torch.testing.assert_close(decision.weights[b, t], expected)


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_the_gate_has_a_gradient_with_the_market_on_and_off_and_capital_has_none(top_k: int) -> None:
    torch.manual_seed(0)
    router = DualPath(RouterConfig(top_k=top_k), C, 4)
    share = torch.full((4,), 0.25, requires_grad=True)
    for quote in (None, _quote(4)._replace(capital_share=share)):
        router.zero_grad()
        h = torch.randn(2, 5, C)
        decision = router(h, context(h, quote), _opinion(4))
        (decision.weights * torch.randn_like(decision.weights)).sum().backward()
        assert float(router.gate.weight_in.grad.norm()) > 0
        assert not decision.selection_bias.requires_grad
        assert not decision.price.requires_grad
    assert share.grad is None


def test_a_market_without_strength_elects_like_no_market() -> None:
    torch.manual_seed(0)
    router = DualPath(RouterConfig(), C, 4)
    h = torch.randn(2, 5, C)
    silent, absent = router(h, context(h, _quote(4, alpha=0.0)), _opinion(4)), router(h, context(h), None)
    assert torch.equal(silent.experts, absent.experts)
    assert torch.equal(silent.weights, absent.weights)
