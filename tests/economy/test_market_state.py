"""Moving averages of the market's memory, and what a quote says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from economy_windows import random_record

from camoe.config.economy import CriticConfig, V21Config
from camoe.economy.market_state import MarketState
from camoe.economy.settlement_window import MicroBatchRecord
from camoe.economy.window_sums import WindowSums, measure_window


def new_state() -> MarketState:
    return MarketState(V21Config(baseline_init=5.0, critic=CriticConfig(init_capital=2000.0)), 3, 4)


def sums_of(record: MicroBatchRecord) -> WindowSums:
    return measure_window([record.without_padding()])


def all_padding() -> MicroBatchRecord:
    record = random_record(0)
    return replace(record, mask=torch.zeros_like(record.mask), critic_loss=torch.tensor(torch.nan))


def test_performance_is_measured_against_the_new_baseline() -> None:
    state, sums = new_state(), sums_of(random_record(0))
    state.track_loss(sums)
    baseline = 0.99 * 5 + 0.01 * sums.mean_loss.item()
    assert state.baseline.tolist() == pytest.approx([baseline] * 3)
    assert state.performance_ema.tolist() == pytest.approx([0.05 * (baseline - sums.mean_loss.item())] * 3)


def test_the_first_critic_loss_gives_no_signal() -> None:
    state, first, second = new_state(), random_record(0), random_record(1)
    assert state.track_critic_loss(sums_of(first), 0.9).item() == 0
    assert state.critic_loss_ema.item() == pytest.approx(first.critic_loss.item())
    signal = state.track_critic_loss(sums_of(second), 0.9)
    old, new = first.critic_loss.item(), second.critic_loss.item()
    assert signal.item() == pytest.approx((old - new) / old, rel=1e-5)
    assert state.critic_loss_ema.item() == pytest.approx(0.9 * old + 0.1 * new)


def test_a_window_of_padding_teaches_nothing() -> None:
    state = new_state()
    state.track_loss(sums_of(all_padding()))
    assert state.baseline.tolist() == [5.0] * 3
    assert state.performance_ema.tolist() == [0.0] * 3
    assert state.track_critic_loss(sums_of(all_padding()), 0.9).item() == 0
    assert not state.critic_loss_seen


def test_velocity_is_flow_over_money() -> None:
    state = new_state()
    state.track_flow(torch.tensor([100.0, 0.0, 50.0]), torch.tensor([1000.0, 1000.0, 500.0]))
    assert state.asset_flow_ema.tolist() == pytest.approx([5.0, 0.0, 2.5])
    assert state.asset_velocity.tolist() == pytest.approx([0.005, 0.0, 0.005])


def test_quote_is_one_layer_of_the_state() -> None:
    state = new_state()
    state.capital[1] = torch.tensor([100.0, 300.0, 400.0, 200.0])
    state.purse[1], state.alpha[1] = 500.0, 0.2
    quote = state.quote(1)
    assert quote.capital_share.tolist() == pytest.approx([0.1, 0.3, 0.4, 0.2])
    assert quote.purse_ratio.item() == 0.25
    assert quote.alpha.item() == pytest.approx(0.2)
    assert quote.bid_scale == 0.05
    torch.testing.assert_close(state.capital_share()[1], quote.capital_share)
