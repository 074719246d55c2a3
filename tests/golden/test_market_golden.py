"""The market's published arithmetic against recorded settlements (`market_*.npz`), value by value."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camoe.config.economy import CriticConfig, V21Config
from camoe.economy import bailout
from camoe.economy.critic import Critic
from camoe.economy.critic_settlement import SettlementTerms, learning_bonus, measure_positions
from camoe.economy.market import CapitalMarket
from camoe.economy.market_report import MarketReport
from camoe.economy.market_state import MarketState
from camoe.economy.settlement_window import MicroBatchRecord, SettlementWindow
from camoe.economy.window_sums import measure_window

Arrays = dict[str, np.ndarray]
Reader = Callable[[Path], Arrays]
TOLERANCE = 2e-6

RENAMED = {
    "market_alpha_ema": "alpha_ema",
    "market_alpha_step": "alpha_step",
    "market_alpha_min": "alpha_min",
    "market_alpha_max": "alpha_max",
}
NOT_SETTINGS = {"critic_bonus_clip", "num_experts", "num_rwkv_experts", "num_trans_experts"}
BUFFERS = {
    "capitals": "capital",
    "baseline_losses": "baseline",
    "selection_ema": "selection_ema",
    "asset_flow_ema": "asset_flow_ema",
    "asset_velocity": "asset_velocity",
}
FLOWS = ("qe_inject", "qe_drain", "idle_tax", "depreciation", "wealth_tax", "vc_inject")
CRITIC_BUFFERS = {
    "capital": "purse",
    "debt": "debt",
    "bailout_count": "bailout_count",
    "prediction_accuracy": "accuracy",
}


def config_of(data: Arrays, **settings: Any) -> V21Config:
    """The recorded constants, on the published side of both flags: no masking, and the wealth tax's published sign.

    The sign only shows in the deflation cases, where the mean capital is negative.
    """
    constants = json.loads(str(data["constants_json"]))
    low, high = constants["critic_bonus_clip"]
    known = {RENAMED.get(name, name): value for name, value in constants.items() if name not in NOT_SETTINGS}
    known |= {"critic_bonus_low": low, "critic_bonus_high": high}
    return V21Config(**known, **settings, mask_padding=False, tax_negative_wealth=True)


def tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array))


def record_of(
    winners: Tensor, loss: Tensor, *, price: Tensor, affinity: Tensor, critic_loss: float = 0.0, **bids: Tensor
) -> MicroBatchRecord:
    return MicroBatchRecord(
        winners=winners,
        price=price,
        affinity=affinity,
        gate_logits=bids.get("gate_logits", torch.zeros_like(affinity)),
        selection_bias=bids.get("selection_bias", torch.zeros_like(affinity)),
        token_loss=loss,
        mask=torch.ones_like(loss, dtype=torch.bool),
        critic_loss=torch.tensor(critic_loss),
    )


def settle(
    market: CapitalMarket, record: MicroBatchRecord, critics: list[nn.Module], phase: str = "normal"
) -> MarketReport:
    return market.settle(SettlementWindow([record]), critics, phase_name=phase)


def assert_close(name: str, ours: Tensor, recorded: np.ndarray) -> None:
    error = (ours.detach().double().reshape(-1) - tensor(recorded).double().reshape(-1)).abs()
    allowed = TOLERANCE * (tensor(recorded).double().reshape(-1).abs() + 1)
    assert bool((error <= allowed).all()), f"{name}: {(error / allowed).max():.3g} times the tolerance"


def new_critics(n_layer: int, n_expert: int) -> list[nn.Module]:
    return [Critic(16, n_expert, CriticConfig()) for _ in range(n_layer)]


def load_layers(state: MarketState, data: Arrays, prefix: str) -> None:
    for recorded, buffer in BUFFERS.items():
        getattr(state, buffer).copy_(tensor(data[prefix + recorded]))


def test_capital(market_capital_file: Path, read_golden: Reader) -> None:
    """One capital update. The file's other layer is settled on tokens of its own, which must not matter."""
    data = read_golden(market_capital_file)
    layer = int(data["layer_idx"])
    n_layer, n_expert = data["before.capitals"].shape
    market = CapitalMarket(config_of(data), n_layer, n_expert)
    load_layers(market.state, data, "before.")
    winners, price, loss = tensor(data["winners"]), tensor(data["costs"]), tensor(data["token_losses"])
    affinity = tensor(data["affinity"]) if "affinity" in data else torch.zeros(*loss.shape, n_expert)
    stacked = [torch.stack([x.roll(i - layer, 1) for i in range(n_layer)]) for x in (winners, price, affinity)]

    record = record_of(stacked[0], loss, price=stacked[1], affinity=stacked[2])
    report = settle(market, record, new_critics(n_layer, n_expert))

    for recorded, buffer in BUFFERS.items():
        assert_close(recorded, getattr(market.state, buffer)[layer], data[f"after.{recorded}"][layer])
    for flow in FLOWS:
        assert_close(flow, report.flows[flow][layer], data[f"after.last_{flow}"][layer])
    assert_close("profit_flow", report.metrics["profit_flow"][layer], data["after.last_profit_flow"][layer])


def test_settle(market_settle_file: Path, read_golden: Reader) -> None:
    """One critic's settlement, from its positions to its purse."""
    data = read_golden(market_settle_file)
    arguments = json.loads(str(data["args_json"]))
    init_capital = float(data["init_capital"])
    low, high = arguments["clip"]
    signal = torch.tensor(arguments["signal"], dtype=torch.float64)
    terms = SettlementTerms(
        reward=arguments["reward"],
        penalty=arguments["penalty"],
        commission=arguments["commission"],
        bonus=learning_bonus(signal, scale=arguments["bonus_scale"], low=low, high=high),
        dividend_scale=arguments["div"],
        dividend_std_factor=arguments["dstd"],
        bid_scale=0.05,
    )
    winners, affinity = tensor(data["winners"])[None], tensor(data["affinity"])[None]
    loss = tensor(data["token_losses"])
    record = record_of(winners, loss, price=torch.zeros(1, *loss.shape), affinity=affinity)
    sums = measure_window([record])
    baseline = torch.tensor([float(data["baseline"])])

    positions = measure_positions([record], baseline, sums.mean_loss, sums.loss_deviation, terms)
    profit = positions.profit(terms)
    purse = bailout.clamped_purse(tensor(data["before.capital"]).double() + profit, init_capital)
    accuracy = positions.updated_accuracy(tensor(data["before.prediction_accuracy"]).double())

    assert_close("profit", profit, data["ret.profit"])
    assert_close("bonus", terms.bonus, data["ret.bonus_factor"])
    assert_close("capital", purse, data["after.capital"])
    assert_close("prediction_accuracy", accuracy, data["after.prediction_accuracy"])


def test_system(market_system_file: Path, read_golden: Reader) -> None:
    """A whole settlement of three layers: capital, alpha, critics, debts and restructured parameters."""
    data = read_golden(market_system_file)
    n_layer, n_expert = data["before.capital_manager.capitals"].shape
    config = config_of(data, critic=CriticConfig(init_capital=float(data["critic_init_capital"])))
    market, critics = CapitalMarket(config, n_layer, n_expert), new_critics(n_layer, n_expert)
    load_system(market.state, critics, data)
    record = record_of(
        tensor(data["winners"]),
        tensor(data["token_losses"]),
        price=tensor(data["costs"]),
        affinity=tensor(data["affinities"]),
        gate_logits=tensor(data["gate_logits"]),
        selection_bias=tensor(data["capital_bias"]),
        critic_loss=float(data["critic_loss"]),
    )

    report = settle(market, record, critics, str(data["phase"]))

    for recorded, buffer in BUFFERS.items():
        name = f"after.capital_manager.{recorded}"
        assert_close(name, getattr(market.state, buffer), data[name])
    for flow in FLOWS:
        assert_close(flow, report.flows[flow], data[f"after.capital_manager.last_{flow}"])
    assert_close("performance", market.state.performance_ema, data["after.layer_performance_ema"])
    assert_close("critic_loss_ema", market.state.critic_loss_ema, data["after.critic_loss_ema"])
    for layer in range(n_layer):
        check_layer(market.state, critics[layer], data, layer)
    check_events(report, json.loads(str(data["f64.events_json"])))


def load_system(state: MarketState, critics: list[nn.Module], data: Arrays) -> None:
    load_layers(state, data, "before.capital_manager.")
    state.performance_ema.copy_(tensor(data["before.layer_performance_ema"]))
    state.critic_loss_ema.copy_(tensor(data["before.critic_loss_ema"]))
    state.critic_loss_seen.fill_(True)
    for layer, critic in enumerate(critics):
        block = f"before.blocks.{layer}."
        state.alpha[layer] = float(data[f"{block}market_alpha"][0])
        for recorded, buffer in CRITIC_BUFFERS.items():
            getattr(state, buffer)[layer] = float(data[f"{block}critic.{recorded}"])
        for name, parameter in recorded_parameters(critic, data, f"{block}critic."):
            parameter.data.copy_(tensor(data[f"{block}critic.{name}"]))


def recorded_parameters(critic: nn.Module, data: Arrays, prefix: str) -> list[tuple[str, nn.Parameter]]:
    found = [(name, parameter) for name, parameter in critic.named_parameters() if prefix + name in data]
    assert len(found) == 4, f"recorded critic parameters that ours has: {[name for name, _ in found]}"
    return found


def check_layer(state: MarketState, critic: nn.Module, data: Arrays, layer: int) -> None:
    block = f"after.blocks.{layer}."
    assert_close(f"{block}alpha", state.alpha[layer], data[f"{block}market_alpha"])
    for recorded, buffer in CRITIC_BUFFERS.items():
        assert_close(f"{block}{recorded}", getattr(state, buffer)[layer], data[f"{block}critic.{recorded}"])
    for name, parameter in recorded_parameters(critic, data, f"{block}critic."):
        assert_close(f"{block}{name}", parameter, data[f"{block}critic.{name}"])


def check_events(report: MarketReport, events: list[dict[str, Any]]) -> None:
    for event in events:
        layer = event["layer"]
        assert float(report.metrics["agreement"][layer]) == pytest.approx(event["agree"], abs=1e-12)
        assert float(report.flows["critic_profit"][layer]) == pytest.approx(event["profit"], abs=1e-5)
        assert float(report.flows["critic_repay"][layer]) == pytest.approx(event["repay"], abs=1e-2)
        assert float(report.flows["critic_bailout"][layer]) == pytest.approx(event["bailout"], abs=1e-9)
