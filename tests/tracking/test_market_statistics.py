from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from camoe.config.calibrated import BankConfig, CalibratedConfig
from camoe.config.economy import EconomyConfig, V18Config, V21Config
from camoe.economy.market import CapitalMarket, Market
from camoe.economy.market_report import MarketReport
from camoe.economy.settlement_window import MicroBatchRecord, SettlementWindow
from camoe.tracking.market_statistics import MarketStatistics, market_statistics_of
from camoe.tracking.metric_definitions import BY_RECORDED_NAME, undefined_names
from tests.economy.calibrated.worlds import World, critics_of, settle

LAYERS, EXPERTS = 2, 4


def report(profit: float, residual: float) -> MarketReport:
    layer = torch.ones(LAYERS)
    share = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.25] * 4])
    return MarketReport(
        flows={"profit": profit * layer, "wealth_tax": 2 * layer, "idle_tax": layer, "qe_inject": 5 * layer},
        residual=torch.tensor([residual, -2 * residual]),
        purse_residual=torch.zeros(LAYERS),
        metrics={
            "capital_share": share,
            "money": profit * layer,
            "critic_purse": 7 * layer,
            "profit_flow": abs(profit) * layer,
            "selected_share": share,
        },
    )


def test_flows_are_means_states_are_last_and_residuals_are_worst() -> None:
    statistics = MarketStatistics(total_capital=100.0)
    statistics.add(report(profit=10.0, residual=0.5))
    statistics.add(report(profit=-4.0, residual=0.25))
    metrics = statistics.metrics()
    assert metrics["market/profit"] == 3
    assert metrics["market/profit_flow"] == 7
    assert metrics["market/money_total"] == -4
    assert metrics["market/taxes"] == 3
    assert metrics["market/burned"] == 3
    assert metrics["market/minted"] == 5
    assert metrics["critic/purse"] == 7
    assert metrics["market/ledger_residual"] == pytest.approx((0.5 + 1.0) / 2 / 100)
    assert metrics["market/ledger_residual/worst"] == pytest.approx(0.01)
    assert metrics["market/top_share/worst"] == pytest.approx(0.4)
    assert statistics.series()["market/selected_share/by_expert"][0] == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_a_residual_is_a_share_of_the_money_that_there_is() -> None:
    """Rounding grows with the accounts, and they may have grown far beyond M."""
    statistics = MarketStatistics(total_capital=100.0)
    statistics.add(report(profit=500.0, residual=0.5))
    assert statistics.series()["market/ledger_residual/by_layer"] == pytest.approx([0.001, 0.002])


def test_an_economy_without_capital_and_an_empty_window_record_nothing() -> None:
    statistics = MarketStatistics(total_capital=1.0)
    statistics.add(MarketReport())
    assert statistics.metrics() == {}
    statistics.add(report(1.0, 0.0))
    statistics.reset()
    assert statistics.series() == {}


def settled(config: V18Config | V21Config) -> MarketReport:
    torch.manual_seed(0)
    shape = (LAYERS, 2, 5)
    record = MicroBatchRecord(
        winners=torch.rand(*shape, EXPERTS).argsort(-1)[..., :2],
        price=torch.rand(shape),
        affinity=torch.randn(*shape, EXPERTS),
        gate_logits=torch.randn(*shape, EXPERTS),
        selection_bias=torch.randn(*shape, EXPERTS),
        token_loss=torch.rand(2, 5),
        mask=torch.ones(2, 5, dtype=torch.bool),
        critic_loss=torch.tensor(0.1),
    )
    window = SettlementWindow()
    window.add(record)
    critics = [torch.nn.Linear(2, 2) for _ in range(LAYERS)]
    return CapitalMarket(config, LAYERS, EXPERTS).settle(window, critics, phase_name="adapt")


def settled_calibrated() -> MarketReport:
    world = World(torch.rand(LAYERS, EXPERTS).double(), torch.zeros(LAYERS, EXPERTS), time=8)
    config = CalibratedConfig(bank=BankConfig(money="elastic"))
    market, generator = Market.build(config, LAYERS, EXPERTS, 2), torch.Generator().manual_seed(0)
    record, credit = world.record(market, generator, 16)
    record = replace(record, market_off=torch.arange(16) < 6)
    return settle(market, [record], credit, critics_of(world))


def test_every_number_of_all_economies_is_defined_and_every_definition_is_fed() -> None:
    recorded: set[str] = set()
    for config in (V18Config(), V21Config(), CalibratedConfig()):
        statistics = market_statistics_of(config)
        report = settled_calibrated() if isinstance(config, CalibratedConfig) else settled(config)
        statistics.add(report)
        numbers = (*report.flows, *report.metrics, "ledger_residual", "purse_residual")
        assert len(statistics._values()) >= len(set(numbers))  # no name covers another
        values = statistics._values()
        assert [name for name in values if name not in {row.name for row in BY_RECORDED_NAME.values()}] == []
        record = {**statistics.metrics(), **statistics.series()}
        assert undefined_names(record) == []
        assert record["market/ledger_residual/worst"] < 1e-6
        recorded |= set(record)
    by_routing = ("bias_std", "bias_spread", "market_flip_rate", "price_mean", "surplus_mean")
    expected = {
        name
        for name in BY_RECORDED_NAME
        if name.startswith(("market/", "critic/")) and name.split("/")[1] not in by_routing
    }
    assert recorded == expected


def holdout(gain: float, error: float) -> dict[str, float]:
    """Metrics of one settlement of a market that has measured its worth."""
    statistics, one = MarketStatistics(1.0), report(1.0, 0.0)
    found = {"holdout_gain": gain, "holdout_error": error, "holdout_tau": 0.0, "holdout_sequences": 3.0}
    one.metrics.update({name: torch.full((LAYERS,), value) for name, value in found.items()})
    statistics.add(one)
    return statistics.metrics()


def test_what_the_market_is_worth_has_an_interval() -> None:
    metrics = holdout(gain=0.5, error=0.25)
    assert metrics["market/holdout_gain"] == 0.5
    assert metrics["market/holdout_low"] == pytest.approx(0.5 - 1.96 * 0.25)
    assert metrics["market/holdout_high"] == pytest.approx(0.5 + 1.96 * 0.25)


def test_a_worth_that_was_not_measured_is_not_recorded_as_zero() -> None:
    metrics = holdout(gain=0.0, error=0.0)
    assert metrics["market/holdout_sequences"] == 3
    measured = {"market/holdout_gain", "market/holdout_low", "market/holdout_high", "market/holdout_error"}
    assert measured.isdisjoint(metrics)


def test_a_purse_s_earnings_do_not_hide_the_score() -> None:
    statistics, one = MarketStatistics(1.0), report(1.0, 0.0)
    one.flows["critic_score"], one.metrics["critic_score"] = torch.full((LAYERS,), 0.125), torch.full((LAYERS,), 4.0)
    statistics.add(one)
    metrics = statistics.metrics()
    assert (metrics["critic/earned"], metrics["critic/score"]) == (0.125, 4.0)


def test_tolls_have_a_spread() -> None:
    statistics, one = MarketStatistics(1.0), report(1.0, 0.0)
    one.metrics["congestion_price"] = torch.tensor([[-1.0, 0.0, 0.5, 0.5], [0.0] * 4])
    statistics.add(one)
    assert statistics.series()["market/congestion_spread/by_layer"] == [1.5, 0.0]


def test_a_checkpoint_in_the_middle_of_a_window_loses_nothing(tmp_path: Path) -> None:
    reports = [settled(V21Config()), settled(V21Config(tax_rate=0.5))]
    whole, before, after = (MarketStatistics(1000.0) for _ in range(3))
    for one in reports:
        whole.add(one)
    before.add(reports[0])
    save_file(before.state(), tmp_path / "state.safetensors")
    after.load_state(load_file(tmp_path / "state.safetensors"), torch.device("cpu"))
    after.add(reports[1])
    assert after.metrics() == whole.metrics()
    assert after.series() == whole.series()


def test_statistics_of_an_economy_know_its_money() -> None:
    assert market_statistics_of(V21Config(total_capital=7.0)).total_capital == 7.0
    assert market_statistics_of(EconomyConfig()).metrics() == {}
