"""The price of compute of learned routers: measured FLOPs per token come to the target."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from camoe.config.learned_router import LearnedRouterConfig, LossFreeConfig, QuantileConfig
from camoe.kernels.ranks import ALONE
from camoe.routing.build import build_balancer, build_router
from tests.routing.routed import GivenGate, cheap_and_dear, decided

L, E, K, N = 2, 5, 2, 256
FLOPS = cheap_and_dear(L, E)
EVEN = FLOPS.fixed + L * K * sum(FLOPS.expert[0]) / E
SCHEMAS: dict[str, Any] = {"topk": LearnedRouterConfig, "loss_free": LossFreeConfig, "quantile": QuantileConfig}


def _measured(kind: str, steps: int, **settings: Any) -> tuple[float, float]:
    """FLOPs per token over those of an even load, in the last quarter of the steps, and mu."""
    config = SCHEMAS[kind](**{"flops_gain": 0.2, **settings})
    router, balancer = build_router(config, 4, E), build_balancer(config, L, E, FLOPS)
    router.gate = GivenGate()
    generator, flops, mask = torch.Generator().manual_seed(0), [], torch.ones(2, N // 2, dtype=torch.bool)
    for _ in range(steps):
        logits = torch.randn(L, 2, N // 2, E, generator=generator) + torch.tensor([0, 0, 0.3, 0.3, 0.6])
        routing = decided(router, balancer, logits)
        flops.append(FLOPS.fixed + sum(FLOPS.expert[0][e] for e in routing.experts.flatten().tolist()) / N)
        balancer.end_step(balancer.window_sums([(routing, mask)], ALONE))
    late = flops[-steps // 4 :]
    return sum(late) / len(late) / EVEN, float(balancer.compute.price)  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize("target", [0.8, 1.0, 1.15])
@pytest.mark.parametrize("kind", ["topk", "loss_free", "quantile"])
def test_flops_come_to_the_target_from_either_side(kind: str, target: float) -> None:
    settings = {"bias_step": 0.01} if kind == "loss_free" else {}
    steps = 60 if kind != "loss_free" else 250
    measured, price = _measured(kind, steps, flops_target=target, **settings)
    assert measured == pytest.approx(target, abs=0.02)
    if kind != "topk":
        assert (price > 0.02) == (target < 1)  # their loads are even without a price


@pytest.mark.parametrize("kind", ["topk", "loss_free", "quantile"])
def test_flops_come_to_the_target_by_the_automatic_gain(kind: str) -> None:
    settings = {"bias_step": 0.01} if kind == "loss_free" else {}
    measured, _ = _measured(kind, 250, flops_target=1.0, flops_gain=None, **settings)
    assert measured == pytest.approx(1, abs=0.02)


def test_a_ceiling_never_makes_dear_experts_cheaper() -> None:
    measured, price = _measured("topk", 60, flops_target=1.3, flops_rule="at_most")
    assert price == 0
    assert 1.05 < measured < 1.3
    measured, price = _measured("topk", 60, flops_target=0.9, flops_rule="at_most")
    assert price > 0
    assert measured == pytest.approx(0.9, abs=0.02)


def test_without_a_target_there_is_no_price() -> None:
    assert build_balancer(LearnedRouterConfig(), L, E, FLOPS).of_layer(0) is None
    assert _measured("loss_free", 5)[1] == 0
