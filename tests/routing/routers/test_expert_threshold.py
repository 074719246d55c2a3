"""Expert threshold against its quantiles written out."""

from __future__ import annotations

import pytest
import torch

from camoe.config.learned_router import ExpertThresholdConfig
from camoe.kernels.ranks import ALONE
from camoe.routing.balancers.compute_price import ComputePrice
from camoe.routing.routers.expert_threshold import ExpertThreshold, ExpertThresholdBalancer
from tests.routing.routed import GivenGate, cheap_and_dear, decided

L, E, K = 2, 5, 2


def _made(**settings: object) -> tuple[ExpertThreshold, ExpertThresholdBalancer]:
    config = ExpertThresholdConfig(top_k=K, **settings)  # type: ignore[arg-type]
    router = ExpertThreshold(config, 4, E)
    router.gate = GivenGate()
    return router, ExpertThresholdBalancer(config, L, E, ComputePrice(config, K, cheap_and_dear(L, E)))


def test_thresholds_average_the_quantiles_of_the_window() -> None:
    router, balancer = _made(threshold_momentum=0.7)
    generator, mask = torch.Generator().manual_seed(0), torch.ones(2, 10, dtype=torch.bool)
    mask[0, 5:] = False
    theta: list[list[float]] = []
    for _ in range(6):
        bias = torch.stack([balancer.of_layer(layer) for layer in range(L)])[:, None, None].float()
        windows = [torch.randn(L, 2, 10, E, generator=generator).round(decimals=1) for _ in range(2)]
        routed = [(decided(router, balancer, logits), mask) for logits in windows]
        for (routing, _), logits in zip(routed, windows, strict=True):
            serves = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, routing.experts, routing.active)
            assert torch.equal(serves, logits + bias > 0)
            won = torch.sigmoid(logits).gather(-1, routing.experts)
            assert torch.equal(routing.weights, won * routing.active)
        balancer.end_step(balancer.window_sums(routed, ALONE))
        quantiles = []
        for layer in range(L):
            rows = [row for logits in windows for row in logits[layer][mask].tolist()]
            seats = len(rows) * K // E
            quantiles.append([sorted((row[e] for row in rows), reverse=True)[seats] for e in range(E)])
        theta = (
            [[0.7 * t + 0.3 * q for t, q in zip(*pair, strict=True)] for pair in zip(theta, quantiles, strict=True)]
            if theta
            else quantiles
        )
        for layer in range(L):
            assert balancer.threshold[layer].tolist() == pytest.approx(theta[layer], abs=1e-6)
            theta[layer] = balancer.threshold[layer].tolist()


def _late(steps: int, **settings: object) -> torch.Tensor:
    """Tokens served [L,E] per token, over the last steps."""
    router, balancer = _made(**settings)
    generator, served = torch.Generator().manual_seed(0), []
    mask = torch.ones(2, 200, dtype=torch.bool)
    for _ in range(steps):
        logits = torch.randn(L, 2, 200, E, generator=generator) + torch.linspace(-1, 1, E)
        sums = balancer.window_sums([(decided(router, balancer, logits), mask)], ALONE)
        balancer.end_step(sums)
        served.append(sums["served"] / 400)
    return torch.stack(served[-10:]).mean(0)


def test_loads_are_even_and_k_serve_on_average() -> None:
    torch.testing.assert_close(_late(30), torch.full((L, E), K / E, dtype=torch.float64), rtol=0, atol=0.02)


def test_a_price_of_compute_lowers_the_flops_to_the_target() -> None:
    served, flops = _late(60, flops_target=0.9, flops_gain=0.5), cheap_and_dear(L, E)
    cost = torch.tensor(flops.expert, dtype=torch.float64)
    even = flops.fixed + K * float(cost.sum()) / E
    assert (flops.fixed + float((served * cost).sum())) / even == pytest.approx(0.9, abs=0.02)
