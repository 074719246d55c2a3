"""Loss-free balancing against algorithm 1 of its paper, and its variants against their formulas."""

from __future__ import annotations

import pytest
import torch

from camoe.config.learned_router import LossFreeConfig
from camoe.kernels.ranks import ALONE
from camoe.routing.balancers.compute_price import ComputePrice
from camoe.routing.routers.loss_free import LossFree, LossFreeBalancer
from tests.routing.routed import GivenGate, decided, even_flops, loads

L, E, K, STEPS = 2, 5, 2, 30


def _made(**settings: object) -> tuple[LossFree, LossFreeBalancer]:
    config = LossFreeConfig(**settings)  # type: ignore[arg-type]
    router = LossFree(config, 4, E)
    router.gate = GivenGate()
    return router, LossFreeBalancer(config, L, E, ComputePrice(config, K, even_flops(L, E)))


def _logits(generator: torch.Generator) -> torch.Tensor:
    drawn = torch.randn(L, 2, 8, E, generator=generator, dtype=torch.float64) + torch.linspace(-1, 1, E)
    return drawn.round(decimals=1)  # so that some tie


@pytest.mark.parametrize("rule", ["sign", "centered", "momentum"])
@pytest.mark.parametrize("score", ["sigmoid", "softmax"])
def test_selection_follows_the_published_rule(rule: str, score: str) -> None:
    router, balancer = _made(bias_rule=rule, score=score, bias_step=0.02, bias_warmup=3, bias_max=0.05)
    bias, average = [[0.0] * E for _ in range(L)], [[0.0] * E for _ in range(L)]
    generator, moved = torch.Generator().manual_seed(0), 0
    for step in range(STEPS):
        windows = [_logits(generator) for _ in range(2)]
        mask = torch.ones(2, 8, dtype=torch.bool)
        mask[1, 5:] = False
        routed = [decided(router, balancer, logits) for logits in windows]
        counts = [[0] * E for _ in range(L)]
        for logits, routing in zip(windows, routed, strict=True):
            scores = torch.sigmoid(logits) if score == "sigmoid" else torch.softmax(logits, -1)
            for layer, sequence, place in torch.cartesian_prod(*map(torch.arange, (L, 2, 8))).tolist():
                s = scores[layer, sequence, place].tolist()
                ranked = sorted(range(E), key=lambda e: (-(s[e] + bias[layer][e]), e))[:K]
                assert routing.experts[layer, sequence, place].tolist() == ranked
                own = [s[e] / sum(s[w] for w in ranked) for e in ranked]
                assert routing.weights[layer, sequence, place].tolist() == pytest.approx(own)
                moved += ranked != sorted(range(E), key=lambda e: (-s[e], e))[:K]
                for e in ranked if mask[sequence, place] else []:
                    counts[layer][e] += 1
        balancer.end_step(balancer.window_sums([(routing, mask) for routing in routed], ALONE))
        for layer in range(L):
            mean = sum(counts[layer]) / E
            if rule == "momentum":
                average[layer] = [
                    0.9 * m + 0.1 * n / (mean * E) for m, n in zip(average[layer], counts[layer], strict=True)
                ]
                delta = [0.02 * (1 / E - m) if step >= 3 else 0.0 for m in average[layer]]
            else:
                delta = [0.02 * ((mean > n) - (mean < n)) for n in counts[layer]]
            if rule != "sign":
                delta = [d - sum(delta) / E for d in delta]
            bias[layer] = [b + d for b, d in zip(bias[layer], delta, strict=True)]
            if rule == "momentum":
                bias[layer] = [min(max(b, -0.05), 0.05) for b in bias[layer]]
        assert balancer.bias.flatten().tolist() == pytest.approx([b for row in bias for b in row], abs=1e-12)
        bias = [row.tolist() for row in balancer.bias]
    assert moved > 10  # or the test would compare nothing


def test_it_balances_and_centring_elects_the_same() -> None:
    histories = []
    for rule in ("sign", "centered"):
        router, balancer = _made(bias_rule=rule, bias_step=0.01)
        generator, history = torch.Generator().manual_seed(1), []
        mask = torch.ones(2, 8, dtype=torch.bool)
        for _ in range(150):
            logits = torch.randn(L, 2, 8, E, generator=generator, dtype=torch.float64) + torch.linspace(-1, 1, E)
            history.append(decided(router, balancer, logits))
            balancer.end_step(balancer.window_sums([(history[-1], mask)], ALONE))
        histories.append(history)
    early, late = loads(histories[0][:10], E), loads(histories[0][-50:], E)
    assert float((early.amax(-1) / early.mean(-1)).max()) > 1.5
    assert float((late.amax(-1) / late.mean(-1)).max()) < 1.15
    assert all(torch.equal(a.experts, b.experts) for a, b in zip(*histories, strict=True))


def test_the_bias_reaches_no_weight_and_has_no_gradient() -> None:
    """Trap: a bias applied to selection and weight alike."""
    router, balancer = _made()
    balancer.bias[:] = torch.linspace(3, -3, E)
    logits = torch.randn(L, 2, 8, E, requires_grad=True)
    routing = decided(router, balancer, logits)
    assert not routing.selection_bias.requires_grad
    won = torch.sigmoid(logits).gather(-1, routing.experts)
    torch.testing.assert_close(routing.weights, won / won.sum(-1, keepdim=True))
    assert torch.equal(routing.experts, torch.tensor([0, 1]).expand_as(routing.experts))
