"""Records of the ledger: what comes and goes explains every balance, whatever economy and wherever a window is cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from camoe.config.calibrated import BankConfig, CalibratedConfig, CapitalConfig, LedgerConfig, WealthTaxConfig
from camoe.config.economy import EconomyConfig, V18Config, V21Config
from camoe.economy.ledger import LedgerRow
from camoe.economy.market import Market
from camoe.economy.market_report import MarketReport
from camoe.tracking.ledger_window import LedgerWindow
from tests.economy.calibrated.worlds import World, critics_of, settle

VALUES = torch.tensor([[0.0, 0.1, 0.2, 0.3], [0.5, 0.1, 0.4, 0.2]], dtype=torch.float64)
WORLD = World(VALUES, torch.tensor([[0.5, 0.0, -0.5, 0.2], [0.0, 0.3, 0.0, -1.0]]), time=32)


def lively() -> CalibratedConfig:
    """Everything that can move money does so within a few thousand tokens."""
    config = CalibratedConfig(
        capital=CapitalConfig(half_life=2e3, tax_half_life=4e3, gain=5.0),
        wealth_tax=WealthTaxConfig(threshold=1.05, half_life=2e3),
        bank=BankConfig(money="elastic", entropy_min=0.97, entropy_max=1.0),
    )
    config.idle_tax = replace(config.idle_tax, threshold=0.9, half_life=2e3, load_half_life=500)
    config.ventures = replace(config.ventures, half_life=2e3)
    config.critic = replace(config.critic, half_life=1e3, bankrupt_below=0.99, repay_half_life=1e3)
    return config


def settlements(config: EconomyConfig, count: int) -> Iterator[tuple[Market, MarketReport]]:
    market, critics = Market.build(config, *WORLD.shape, WORLD.top_k), critics_of(WORLD)
    generator = torch.Generator().manual_seed(0)
    yield market, MarketReport()
    for _ in range(count):
        record, credit = WORLD.record(market, generator, 16, affinity=torch.randn_like)
        yield market, settle(market, [record], credit, critics)


def written(config: EconomyConfig, windows: int = 3, length: int = 4) -> list[dict[str, Any]]:
    """Records of some windows, as they come back from a file."""
    events = settlements(config, windows * length)
    market, _ = next(events)
    window, records = LedgerWindow(market.accounts), []
    for number, (_, report) in enumerate(events, start=1):
        window.add(report)
        if number % length == 0:
            records.append(json.loads(json.dumps(window.record())))
            window.reset()
    return records


def unexplained(records: list[dict[str, Any]]) -> float:
    """Largest |opening + entries - closing| over the sum of a layer's money, any layer, account and window."""
    worst = 0.0
    for record in records:
        for account, opening in record["opening"].items():
            balance = torch.tensor(opening, dtype=torch.float64)
            scale = balance.abs().max().clamp(min=1.0)
            for row in record["rows"]:
                amount = torch.tensor(row["amount"], dtype=torch.float64)
                assert (amount >= 0).all(), row
                balance += amount * ((row["to"] == account) - (row["from"] == account))
            gap = balance - torch.tensor(record["closing"][account], dtype=torch.float64)
            worst = max(worst, float(gap.abs().max() / scale))
    return worst


@pytest.mark.parametrize(
    ("config", "precision"),
    [(lively(), 1e-12), (CalibratedConfig(), 1e-12), (V21Config(), 1e-6), (V18Config(), 1e-6)],
    ids=["lively", "calibrated", "v21", "v18"],
)
def test_opening_and_entries_make_closing(config: EconomyConfig, precision: float) -> None:
    records = written(config)
    assert [record["settlements"] for record in records] == [4, 4, 4]
    assert unexplained(records) < precision
    for before, after in pairwise(records):
        assert before["closing"] == after["opening"]
    moved = records[0]["closing"]["critics"] != records[0]["opening"]["critics"]
    assert moved or isinstance(config, V18Config)  # whose critics are not settled


def test_every_transfer_of_the_calibrated_economy_is_written() -> None:
    records = written(lively(), windows=2, length=12)
    seen = {
        (row["from"], row["to"], row["reason"]) for record in records for row in record["rows"] if any(row["amount"])
    }
    assert seen >= {
        ("experts", "experts", "log_tax"),
        ("experts", "experts", "profit"),
        ("experts", "treasury", "wealth_tax"),
        ("experts", "treasury", "idle_tax"),
        ("treasury", "ventures", "venture_grant"),
        ("ventures", "experts", "venture_vest"),
        ("bank", "experts", "qe"),
        ("rescue", "critics", "critic_bailout"),
        ("critics", "clearing", "critic_score"),
    }


def test_a_missing_row_is_noticed() -> None:
    records = written(lively())
    records[1]["rows"] = [row for row in records[1]["rows"] if row["reason"] != "wealth_tax"]
    assert unexplained(records) > 1e-6


@pytest.mark.parametrize("config", [EconomyConfig(), CalibratedConfig(ledger=LedgerConfig(kind="totals"))])
def test_without_rows_there_is_no_record(config: EconomyConfig) -> None:
    assert written(config, windows=1) == [None]


def test_equal_rows_are_added_up() -> None:
    purse = torch.ones(2)
    window = LedgerWindow(lambda: {"critics": purse})
    for amount in (1.0, 2.0):
        rows = (LedgerRow("rescue", "critics", torch.tensor([amount, 0.0]), "critic_bailout"),)
        window.add(MarketReport(rows=(*rows, LedgerRow("critics", "rescue", torch.zeros(2), "critic_repay"))))
    purse += torch.tensor([3.0, 0.0])  # in place, as a market does
    record = window.record()
    assert record is not None
    assert [(row["reason"], row["amount"]) for row in record["rows"]] == [
        ("critic_bailout", [3.0, 0.0]),
        ("critic_repay", [0.0, 0.0]),
    ]
    assert (record["opening"], record["closing"]) == ({"critics": [1.0, 1.0]}, {"critics": [4.0, 1.0]})


def test_a_checkpoint_in_the_middle_of_a_window_loses_nothing(tmp_path: Path) -> None:
    events = settlements(lively(), 4)
    market, _ = next(events)
    whole, before, after = (LedgerWindow(market.accounts) for _ in range(3))
    for number, (_, report) in enumerate(events):
        whole.add(report)
        if number < 2:
            before.add(report)
        if number == 1:
            save_file(before.state(), tmp_path / "state.safetensors")
            after.load_state(load_file(tmp_path / "state.safetensors"), torch.device("cpu"))
        if number >= 2:
            after.add(report)
    assert json.dumps(after.record()) == json.dumps(whole.record())  # in the same order, too
