"""Published balancers are special cases: the market with everything else at zero elects as they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from calibrated.worlds import World, critics_of, market_of, settle
from camoe.config.calibrated import (
    AlphaConfig,
    BidConfig,
    CalibratedConfig,
    CongestionConfig,
    CreditConfig,
    VenturesConfig,
)
from camoe.config.learned_router import LossFreeConfig, QuantileConfig
from camoe.economy.critic import CriticOpinion
from camoe.economy.market import CalibratedMarket
from camoe.kernels.ranks import ALONE
from camoe.routing.balancer import Balancer
from camoe.routing.balancers.compute_price import ComputePrice
from camoe.routing.learned_router import LearnedRouter
from camoe.routing.routers.loss_free import LossFree, LossFreeBalancer
from camoe.routing.routers.quantile import Quantile, QuantileBalancer
from tests.routing.routed import GivenGate, decided, even_flops

N_LAYER, N_EXPERT, TOP_K, TIME, SEQUENCES, STEPS = 2, 8, 2, 32, 16, 60
WORLD = World(torch.zeros(N_LAYER, N_EXPERT), torch.linspace(-1, 1, N_EXPERT).expand(N_LAYER, -1), TOP_K, TIME)


def nothing_but(congestion: CongestionConfig, space: str = "logits") -> CalibratedConfig:
    """No wealth in the bids, no subsidy, no compute price."""
    return CalibratedConfig(
        bid=BidConfig(space=space),
        alpha=AlphaConfig(kind="fixed", init=0.0),
        ventures=VenturesConfig(kind="none"),
        credit=CreditConfig(kind="token_loss"),
        congestion=congestion,
    )


def steps_of(market: CalibratedMarket, on_election: Callable[[Tensor, Tensor], None]) -> None:
    """Settle STEPS windows; `on_election` sees each window's gate logits [L,B,T,E] and the market's winners."""
    critics, generator = critics_of(WORLD), torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        record, _ = WORLD.record(market, generator, SEQUENCES)
        on_election(record.gate_logits, record.winners)
        settle(market, [record], None, critics)


def same_winners(ours: Tensor, theirs: Tensor) -> bool:
    return torch.equal(ours.sort(-1).values, theirs.sort(-1).values)


def test_loss_free_balancing() -> None:
    """DeepSeek (arXiv 2408.15664), algorithm 1, written directly: selection for selection the same."""
    rate, bias, moved = 1e-2, torch.zeros(N_LAYER, N_EXPERT, dtype=torch.float64), []

    def check(gate: Tensor, winners: Tensor) -> None:
        nonlocal bias
        scores = torch.sigmoid(gate)
        expected = (scores.double() + bias[:, None, None]).topk(TOP_K, dim=-1).indices
        assert same_winners(winners, expected)
        moved.append(not same_winners(expected, scores.topk(TOP_K, dim=-1).indices))
        count = torch.zeros_like(bias).scatter_add_(
            1, expected.flatten(1), torch.ones_like(expected.flatten(1)).double()
        )
        bias = bias + rate * (count.mean(-1, keepdim=True) - count).sign()

    market = market_of(nothing_but(CongestionConfig(kind="sign", step=rate), "score"), WORLD)
    steps_of(market, check)
    assert all(moved[1:])  # or the test would compare nothing
    torch.testing.assert_close(market.state.congestion, bias.mean(-1, keepdim=True) - bias, rtol=0, atol=1e-12)


def test_quantile_balancing() -> None:
    """One exact dual step per window, written directly, elects the same and balances the next window."""
    beta, loads = torch.zeros(N_LAYER, N_EXPERT, dtype=torch.float64), []

    def check(gate: Tensor, winners: Tensor) -> None:
        nonlocal beta
        logits = gate.double().flatten(1, 2)
        expected = (logits - beta[:, None]).topk(TOP_K + 1, dim=-1)
        assert same_winners(winners.flatten(1, 2), expected.indices[..., :TOP_K])
        loads.append(winners.flatten(1).double())
        threshold = expected.values[..., TOP_K:]
        seats = logits.shape[1] * TOP_K // N_EXPERT
        beta = (logits - threshold).sort(dim=1, descending=True).values[:, seats]

    steps_of(market_of(nothing_but(CongestionConfig(kind="quantile")), WORLD), check)
    assert imbalance(loads[0]) > 0.5
    assert imbalance(torch.cat(loads[-10:], -1)) < 0.1


@pytest.mark.parametrize("kind", ["sign", "quantile"])
def test_routers_without_a_market_elect_as_the_market_that_only_balances(kind: str) -> None:
    """loss_free and quantile are this market's congestion prices, selection for selection."""
    router: LearnedRouter
    balancer: Balancer
    if kind == "sign":
        config = LossFreeConfig(bias_step=1e-2)
        compute = ComputePrice(config, TOP_K, even_flops(N_LAYER, N_EXPERT))
        router, balancer = LossFree(config, 4, N_EXPERT), LossFreeBalancer(config, N_LAYER, N_EXPERT, compute)
        market = market_of(nothing_but(CongestionConfig(kind=kind, step=1e-2), "score"), WORLD)
    else:
        compute = ComputePrice(QuantileConfig(), TOP_K, even_flops(N_LAYER, N_EXPERT))
        router, balancer = Quantile(QuantileConfig(), 4, N_EXPERT), QuantileBalancer(N_LAYER, N_EXPERT, TOP_K, compute)
        market = market_of(nothing_but(CongestionConfig(kind=kind)), WORLD)
    router.gate = GivenGate()
    moved = []

    def check(gate: Tensor, winners: Tensor) -> None:
        routing = decided(router, balancer, gate)
        assert same_winners(routing.experts, winners)
        moved.append(not same_winners(winners, gate.topk(TOP_K).indices))
        mask = torch.ones(gate.shape[1:3], dtype=torch.bool)
        balancer.end_step(balancer.window_sums([(routing, mask)], ALONE))

    steps_of(market, check)
    assert all(moved[1:])


def imbalance(winners: Tensor) -> float:
    """max_e n_e / mean - 1 of the worst layer."""
    counts = torch.stack([torch.bincount(layer.long(), minlength=N_EXPERT) for layer in winners]).double()
    return float((counts.max(-1).values / counts.mean(-1) - 1).max())


@pytest.mark.parametrize("kind", ["sign", "proportional", "pid"])
def test_every_price_balances(kind: str) -> None:
    config = nothing_but(CongestionConfig(kind=kind, step=0.03, half_life=10e3, proportional=0.05))
    loads: list[Tensor] = []
    steps_of(market_of(config, WORLD), lambda _, winners: loads.append(winners.flatten(1)))
    assert imbalance(loads[0]) > 0.5
    assert imbalance(torch.cat(loads[-10:], -1)) < 0.25


@pytest.mark.parametrize("space", ["logits", "score"])
def test_everything_zero_is_plain_top_k(space: str) -> None:
    """alpha = 0, nu = 0, lambda = 0, mu = 0: a bias of exactly 0, however unequal wealth has become."""
    market = market_of(nothing_but(CongestionConfig(kind="none"), space), WORLD)
    steps_of(
        market,
        lambda gate, winners: None if same_winners(winners, gate.topk(TOP_K).indices) else pytest.fail("other winners"),
    )
    market.state.capital[:, 0] *= 5
    for layer in range(N_LAYER):
        quote, gate = market.quote(layer), torch.randn(2, 3, N_EXPERT)
        bias = quote.bias(gate, CriticOpinion(torch.randn(2, 3), gate)) - quote.toll()
        assert bias.count_nonzero() == 0


@pytest.mark.parametrize("placebo", ["shadow", "none"])
def test_shadow_elects_as_if_wealth_were_equal(placebo: str) -> None:
    config = nothing_but(CongestionConfig(kind="none"))
    config.alpha.init, config.placebo.kind = 1.0, placebo
    market = market_of(config, WORLD)
    steps_of(market, lambda *_: None)
    market.state.capital[:, 0] *= 5
    gate: Any = torch.randn(2, 3, N_EXPERT)
    assert (market.quote(0).bias(gate, None).count_nonzero() == 0) == (placebo == "shadow")
