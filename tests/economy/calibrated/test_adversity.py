"""Whatever a stream does: money is conserved, nothing becomes NaN, and no expert is dead for ever (property-based)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from calibrated.worlds import World, critics_of, market_of, settle
from camoe.config.calibrated import CREDITS, CalibratedConfig
from camoe.economy.market import CalibratedMarket
from camoe.economy.market_report import MarketReport

N_LAYER, N_EXPERT, TOP_K = 2, 4, 2
PEACE = World(torch.zeros(N_LAYER, N_EXPERT), torch.zeros(N_LAYER, N_EXPERT), TOP_K, time=8)
SEQUENCES, REPEATS, PEACEFUL_WINDOWS = 8, 5, 60
HORIZON = 64.0  # tokens: one window

CHOICES = {
    "price": ("vickrey", "none"),
    "credit": tuple(kind for kind in CREDITS if kind != "gradient"),
    "capital": ("hedge", "additive"),
    "wealth_tax": ("threshold", "none"),
    "idle_tax": ("venture_pot", "none"),
    "ventures": ("critic", "ucb", "none"),
    "bank": ("entropy", "none"),
    "congestion": ("none", "sign", "proportional", "pid", "quantile"),
    "compute": ("budget", "equal", "none"),
    "alpha": ("fixed", "agreement", "holdout"),
    "placebo": ("none", "shuffled", "shadow", "frozen"),
}


@st.composite
def configs(draw: st.DrawFn) -> CalibratedConfig:
    """Any combination of mechanisms, with horizons of one window, so that extremes are reached."""
    config = CalibratedConfig()
    for name, kinds in CHOICES.items():
        getattr(config, name).kind = draw(st.sampled_from(kinds))
    config.bank.money = draw(st.sampled_from(("conserved", "elastic")))
    for name in ("bid", "price", "credit", "capital", "wealth_tax", "idle_tax", "ventures", "alpha", "critic"):
        getattr(config, name).half_life = HORIZON
    config.capital.tax_half_life = config.idle_tax.load_half_life = HORIZON
    config.congestion.half_life = config.compute.half_life = HORIZON
    return config


MOVES = st.fixed_dictionaries(
    {
        "favourite": st.integers(0, N_EXPERT - 1),
        "popularity": st.sampled_from([0.0, 1.0, 1e4]),
        "flat": st.booleans(),
        "nats": st.sampled_from([0.0, 1e-6, 1.0, 1e6]),
        "value": st.sampled_from([-1e3, 0.0, 1e3]),
        "padding": st.sampled_from([0.0, 0.5, 1.0]),
        "affinity": st.sampled_from([0.0, 1e4, -1e4]),
        "held_out": st.sampled_from([0.0, 0.5, 1.0]),
        "seed": st.integers(0, 2**20),
    }
)


def attack(market: CalibratedMarket, move: dict[str, Any], critics: list[Any]) -> MarketReport:
    """One settlement of a stream that does its worst."""
    target = torch.zeros(N_LAYER, N_EXPERT)
    target[:, move["favourite"]] = 1
    world = replace(
        PEACE,
        values=target.double() * move["value"],
        popularity=target * move["popularity"],
        nats=move["nats"],
        padding=move["padding"],
    )
    generator = torch.Generator().manual_seed(move["seed"])
    record, audit = world.record(market, generator, SEQUENCES, affinity=lambda like: target[:, None, None] + 0 * like)
    record = replace(
        record,
        affinity=target[:, None, None].expand_as(record.affinity) * move["affinity"],
        gate_logits=torch.zeros_like(record.gate_logits) if move["flat"] else record.gate_logits,
        market_off=torch.rand(SEQUENCES, generator=generator) < move["held_out"],
    )
    return settle(market, [record], audit, critics)


def check_books(market: CalibratedMarket, report: MarketReport, before: dict[str, Tensor]) -> None:
    """Money is conserved to 1e-6, and the rows alone explain every account."""
    state = market.state
    assert all(torch.isfinite(value).all() for value in state.buffers())
    assert all(torch.isfinite(value).all() for value in (*report.metrics.values(), *report.flows.values()))
    first = N_EXPERT * market.config.capital.money_per_expert
    total = state.money() - state.minted + state.burned
    scale = torch.maximum(state.money(), state.minted + first)
    assert ((total - first).abs() <= 1e-6 * scale).all()
    assert (report.residual.abs() <= 1e-6).all()
    assert (report.purse_residual.abs() <= 1e-9).all()
    assert (state.capital > 0).all()
    assert (state.treasury >= -1e-9 * scale).all()
    assert (state.grants >= -1e-9).all()
    balance = Counter[str]()
    for row in report.rows:
        assert (row.amount >= 0).all()
        balance[row.target] += row.amount  # type: ignore[assignment]
        balance[row.source] -= row.amount  # type: ignore[assignment]
    for account, name in (("experts", "capital"), ("treasury", "treasury"), ("ventures", "grants")):
        moved = getattr(state, name).reshape(N_LAYER, -1).sum(-1) - before[name].reshape(N_LAYER, -1).sum(-1)
        torch.testing.assert_close(moved, moved * 0 + balance[account], rtol=1e-9, atol=1e-9 * float(scale.max()))


def survive(config: CalibratedConfig, moves: list[dict[str, Any]]) -> None:
    market, critics = market_of(config, PEACE, expert_flops=[1.0, 1.0, 1.0, 14.0], fixed_flops=10.0), critics_of(PEACE)
    for move in moves:
        for repeat in range(REPEATS):
            before = {name: value.clone() for name, value in market.state.named_buffers()}
            check_books(market, attack(market, {**move, "seed": move["seed"] + repeat}, critics), before)
    generator, served = torch.Generator().manual_seed(0), torch.zeros(N_LAYER, N_EXPERT)
    for window in range(PEACEFUL_WINDOWS):
        record, audit = PEACE.record(market, generator, SEQUENCES)
        settle(market, [record], audit, critics)
        if window >= PEACEFUL_WINDOWS // 2:
            served += record.won().sum((1, 2))
    assert (served > 0).all(), served


SURVIVAL = hypothesis_settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@hypothesis_settings(SURVIVAL, max_examples=4)
@given(configs(), st.lists(MOVES, min_size=2, max_size=3))
def test_adversarial_streams(config: CalibratedConfig, moves: list[dict[str, Any]]) -> None:
    survive(config, moves)


@pytest.mark.slow
@hypothesis_settings(SURVIVAL, max_examples=50)
@given(configs(), st.lists(MOVES, min_size=8, max_size=12))
def test_five_thousand_adversarial_settlements(config: CalibratedConfig, moves: list[dict[str, Any]]) -> None:
    """50 markets of at least 40 hostile and 60 peaceful settlements each."""
    survive(config, moves)
