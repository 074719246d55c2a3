"""Quantile balancing against its two quantiles written out."""

from __future__ import annotations

import pytest
import torch

from camoe.config.learned_router import QuantileConfig
from camoe.kernels.ranks import ALONE, Ranks
from camoe.routing.balancers.compute_price import ComputePrice
from camoe.routing.routers.quantile import Quantile, QuantileBalancer
from tests.routing.routed import GivenGate, decided, even_flops, loads

L, E = 2, 5


def _made(top_k: int) -> tuple[Quantile, QuantileBalancer]:
    config = QuantileConfig(top_k=top_k)
    router = Quantile(config, 4, E)
    router.gate = GivenGate()
    return router, QuantileBalancer(L, E, top_k, ComputePrice(config, top_k, even_flops(L, E)))


def _logits(generator: torch.Generator) -> torch.Tensor:
    drawn = torch.randn(L, 2, 10, E, generator=generator, dtype=torch.float64) + torch.linspace(-1, 1, E)
    return drawn.round(decimals=1)  # so that some tie


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_prices_are_the_published_quantiles_of_the_window(top_k: int) -> None:
    router, balancer = _made(top_k)
    generator, mask = torch.Generator().manual_seed(0), torch.ones(2, 10, dtype=torch.bool)
    mask[0, 5:] = False  # 15 + 15 tokens are left: N k / E is whole
    history = []
    for _ in range(12):
        windows, before = [_logits(generator) for _ in range(2)], balancer.beta.clone()
        routed = [decided(router, balancer, logits) for logits in windows]
        history.append(routed)
        balancer.end_step(balancer.window_sums([(routing, mask) for routing in routed], ALONE))
        for layer in range(L):
            rows = [row for logits in windows for row in logits[layer][mask].tolist()]
            beta = before[layer].tolist()
            alpha = [sorted((z - b for z, b in zip(row, beta, strict=True)), reverse=True)[top_k] for row in rows]
            seats = len(rows) * top_k // E
            beta = [sorted((r[e] - a for r, a in zip(rows, alpha, strict=True)), reverse=True)[seats] for e in range(E)]
            beta = [b - sum(beta) / E for b in beta]
            assert balancer.beta[layer].tolist() == pytest.approx(beta, abs=1e-12)
    for routing, logits in zip(routed, windows, strict=True):
        expected = (logits - before[:, None, None]).sort(dim=-1, descending=True, stable=True).indices
        assert torch.equal(routing.experts, expected[..., :top_k])


def test_it_balances_at_once() -> None:
    router, balancer = _made(2)
    generator, mask, history = torch.Generator().manual_seed(1), torch.ones(2, 100, dtype=torch.bool), []
    for _ in range(12):
        logits = torch.randn(L, 2, 100, E, generator=generator, dtype=torch.float64) + torch.linspace(-1, 1, E)
        history.append(decided(router, balancer, logits))
        balancer.end_step(balancer.window_sums([(history[-1], mask)], ALONE))
    early, late = loads(history[:1], E), loads(history[-8:], E)
    assert float((early.amax(-1) / early.mean(-1)).max()) > 1.5
    assert float((late.amax(-1) / late.mean(-1)).max()) < 1.1


class _TwoAlike(Ranks):
    """Two ranks that saw the same."""

    def join(self, values: torch.Tensor, dim: int) -> torch.Tensor:
        return torch.cat([values, values], dim)


def test_the_quantile_is_that_of_all_ranks() -> None:
    router, balancer = _made(2)
    logits = _logits(torch.Generator().manual_seed(0))
    routed = [(decided(router, balancer, logits), torch.ones(2, 10, dtype=torch.bool))]
    alone, together = (balancer.window_sums(routed, ranks)["bids"] for ranks in (ALONE, _TwoAlike()))
    assert together.shape[1] == 2 * alone.shape[1] == 40
