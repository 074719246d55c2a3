"""What the calibrated economy is for: wealth follows value, prices clear, controls tell it from chance."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from calibrated.worlds import World, critics_of, market_of, run, settle, spearman
from camoe.config.calibrated import (
    AlphaConfig,
    BidConfig,
    CalibratedConfig,
    CapitalConfig,
    ComputeConfig,
    CongestionConfig,
    PlaceboConfig,
)
from camoe.economy.calibrated.placebo import quoted_share
from camoe.economy.calibrated.report import rank_correlation

VALUES = torch.tensor([[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], [0.7, 0.1, 0.5, 0.3, 0.2, 0.4, 0.0, 0.6]]).double()
POPULARITY = torch.tensor([[1.0, 0.0, 0.5, -0.5, 0.0, 0.3, -0.3, -1.0], [-1.0, 0.0, 0.5, -0.5, 0.0, 0.3, 1.0, 0.0]])
WORLD = World(VALUES, POPULARITY, time=64)


def fast(**changes: object) -> CalibratedConfig:
    config = CalibratedConfig(**changes)  # type: ignore[arg-type]
    config.credit.half_life, config.credit.prior_tokens = 200e3, 500.0
    config.capital.half_life = config.capital.tax_half_life = 30e3
    config.idle_tax.load_half_life = config.bid.half_life = config.congestion.half_life = 20e3
    return config


@pytest.mark.parametrize(("capital", "least"), [("hedge", 0.95), ("additive", 0.9)])
def test_wealth_follows_value_and_not_popularity(capital: str, least: float) -> None:
    """Spearman of capital with the known values, in every layer, though the worst are the best loved.

    Additive wealth has no tax that grows with it: the worst share the floor, and equal wealth has no order.
    """
    config = fast(capital=CapitalConfig(kind=capital))
    market, reports = run(WORLD, config, tokens=300_000, per_update=4096)
    assert (rank_correlation(market.state.capital, VALUES) >= least).all()
    assert (rank_correlation(market.state.capital, POPULARITY.double()) < 0.5).all()
    assert (reports[-1].metrics["spearman_credit"] >= least).all()
    assert (reports[-1].metrics["reliability"] > 0.9).all()


def test_noise_alone_moves_nobody_far() -> None:
    world = replace(WORLD, values=torch.zeros_like(VALUES))
    market, _ = run(world, fast(), tokens=150_000, per_update=4096)
    assert (market.state.capital_share() * 8).log().abs().max() < 0.35


def test_price_clears_the_market() -> None:
    """Loads even out although one expert is loved most, and stay uneven without a price."""
    loads = {}
    for kind in ("proportional", "none"):
        _, reports = run(
            WORLD, fast(congestion=CongestionConfig(kind=kind, half_life=20e3)), tokens=150_000, per_update=4096
        )
        loads[kind] = torch.stack([report.metrics["selected_share"] for report in reports[-10:]]).mean(0)
    assert (loads["proportional"] * 4 - 1).abs().max() < 0.15
    assert (loads["none"] * 4 - 1).abs().max() > 0.5


def test_inverse_cost_target() -> None:
    """Each expert is offered as many FLOPs: the load is inverse to the cost."""
    config = fast(congestion=CongestionConfig(target="inverse_cost"))
    flops = [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    _, reports = run(WORLD, config, tokens=200_000, per_update=4096, expert_flops=flops)
    load = torch.stack([report.metrics["selected_share"] for report in reports[-10:]]).mean(0)
    assert ((load[:, :4].mean(-1) / load[:, 4:].mean(-1)) - 2).abs().max() < 0.1


@pytest.mark.parametrize("budget", [0.7, 0.85])
def test_compute_price_holds_flops_at_the_budget(budget: float) -> None:
    """Six cheap experts and two that cost 14 times as much, which the gate loves."""
    flops, loved = [1.0] * 6 + [14.0] * 2, torch.tensor([0.0] * 6 + [1.0] * 2).expand(2, -1)
    config = fast(
        compute=ComputeConfig(kind="budget", budget=budget, half_life=20e3), congestion=CongestionConfig(kind="none")
    )
    world = replace(WORLD, popularity=loved)
    _, reports = run(world, config, tokens=250_000, per_update=4096, expert_flops=flops, fixed_flops=4.0)
    ratios = torch.stack([report.metrics["flops_ratio"][0] for report in reports])
    assert ratios[0] > 1.3
    assert ratios[-15:].mean().item() == pytest.approx(1, abs=0.03)
    assert reports[-1].metrics["compute_price"].min() > 0


@pytest.mark.parametrize("dear", [1.1, 14.0])
@pytest.mark.parametrize(("kind", "held"), [("equal", True), ("budget", False)])
def test_compute_price_of_kind_equal_also_fills_a_budget(kind: str, held: bool, dear: float) -> None:
    """Of experts that cost 1 and more the gate loves the cheap; a ceiling leaves it to them."""
    flops, loved = [1.0] * 6 + [dear] * 2, torch.tensor([1.0] * 6 + [0.0] * 2).expand(2, -1)
    config = fast(compute=ComputeConfig(kind=kind, half_life=20e3), congestion=CongestionConfig(kind="none"))
    world = replace(WORLD, popularity=loved)
    market, reports = run(world, config, tokens=150_000, per_update=4096, expert_flops=flops, fixed_flops=4.0)
    ratios = torch.stack([report.metrics["flops_ratio"][0] for report in reports])[-15:]
    assert (ratios.mean().item() == pytest.approx(1, abs=0.03 if dear > 2 else 0.002)) == held
    assert not held or ratios.std() < (0.03 if dear > 2 else 0.002)  # it rests there
    assert (market.state.compute_price.item() < 0) == held


def test_compute_price_is_zero_within_the_budget_and_among_equals() -> None:
    config = fast(compute=ComputeConfig(kind="budget"))
    market, _ = run(WORLD, config, tokens=40_000, per_update=4096, expert_flops=[5.0] * 8, fixed_flops=1.0)
    assert market.state.compute_price.item() == 0


def test_shuffled_wealth_keeps_its_spread_and_changes_its_owners() -> None:
    config = fast(placebo=PlaceboConfig(kind="shuffled"))
    market, _ = run(WORLD, config, tokens=100_000, per_update=4096)
    state, critics, generator = market.state, critics_of(WORLD), torch.Generator().manual_seed(0)
    seen = []
    for _ in range(20):
        quoted, real = quoted_share(config.placebo, state), state.capital_share()
        torch.testing.assert_close(quoted.sort(-1).values, real.sort(-1).values)
        seen.append(torch.stack([torch.tensor(spearman(a, b)) for a, b in zip(quoted, real, strict=True)]))
        record, audit = WORLD.record(market, generator, 4)
        settle(market, [record], audit, critics)
    assert torch.stack(seen).mean().abs() < 0.25
    assert torch.stack(seen).std() > 0.2


def test_frozen_wealth_stays_and_late_placebos_wait() -> None:
    config = fast(placebo=PlaceboConfig(kind="frozen", after_tokens=50_000))
    market, reports = run(WORLD, config, tokens=100_000, per_update=4096)
    shares = [report.metrics["capital_share"] for report in reports]
    assert not torch.equal(shares[5], shares[8])
    assert all(torch.equal(share, shares[12]) for share in shares[13:])
    assert all(row.amount.sum() == 0 for row in reports[-1].rows if not row.reason.startswith("critic"))
    assert not torch.equal(reports[-1].metrics["congestion_price"], reports[-2].metrics["congestion_price"])
    late = PlaceboConfig(kind="shuffled", after_tokens=1e9)
    assert torch.equal(quoted_share(late, market.state), market.state.capital_share())


def test_holdout_measures_what_the_market_does() -> None:
    """A market that helps raises alpha; the running experiment names its effect."""
    config = fast(alpha=AlphaConfig(kind="holdout", half_life=50e3), congestion=CongestionConfig(kind="none"))
    market, critics, generator = market_of(config, WORLD), critics_of(WORLD), torch.Generator().manual_seed(0)
    for _ in range(40):
        record, audit = WORLD.record(market, generator, 64)
        off = torch.arange(64) % 8 == 0
        helped = torch.where(off, 0.0, 0.3).unsqueeze(-1)
        record = replace(record, market_off=off, token_loss=record.token_loss - helped)
        report = settle(market, [record], audit, critics)
    gain, error = report.metrics["holdout_gain"][0].item(), report.metrics["holdout_error"][0].item()
    assert gain == pytest.approx(0.3, abs=3 * error)
    assert error < 0.03
    assert (market.state.alpha > 1).all()


def test_grants_bring_the_idle_back() -> None:
    """An expert that the gate avoids and the market taxes gets a subsidy where its critic believes in it."""
    popularity = torch.zeros(2, 8)
    popularity[:, 7] = -4
    world = replace(WORLD, popularity=popularity)
    believer = torch.zeros(8)
    believer[7] = 3.0
    config = fast(congestion=CongestionConfig(kind="none"), bid=BidConfig(half_life=20e3))
    config.idle_tax.half_life = 20e3
    market, reports = run(world, config, tokens=80_000, per_update=2048, affinity=lambda like: believer.expand_as(like))
    assert reports[-1].flows["venture_grant"].min() > 0
    assert market.quote(0).bias(torch.zeros(1, 1, 8), None)[0, 0, 7] > 0
    assert (market.state.grants[:, :7] == 0).all()
