"""docs/economy.md works one settlement by hand; here the laws compute it, and the page must agree."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from calibrated.worlds import World, critics_of, market_of, settle
from camoe.config.calibrated import CalibratedConfig
from camoe.economy.calibrated.critic_market import forecast
from camoe.economy.calibrated.merit import outlook, profit
from camoe.economy.calibrated.ventures import subsidy
from camoe.economy.market import CalibratedMarket
from camoe.economy.market_report import MarketReport
from camoe.economy.measured_credit import MeasuredCredit
from camoe.economy.settlement_window import MicroBatchRecord

PAGE = Path(__file__).resolve().parents[3] / "docs" / "economy.md"
N, H = 8, 8.0
WINNERS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2])


def example() -> CalibratedConfig:
    config = CalibratedConfig()
    for name in ("bid", "price", "credit", "capital", "wealth_tax", "idle_tax", "ventures", "congestion", "critic"):
        getattr(config, name).half_life = H
    config.capital.tax_half_life = config.idle_tax.load_half_life = H
    config.credit.prior_tokens = 1e-9
    config.wealth_tax.threshold, config.idle_tax.threshold, config.ventures.leverage = 1.5, 0.5, 2.0
    config.alpha.kind = "fixed"
    return config


def window() -> tuple[MicroBatchRecord, MeasuredCredit]:
    gate = torch.nn.functional.one_hot(WINNERS, 3).float().expand(1, 1, N, 3)
    nothing = torch.zeros(1, 1, N, 3)
    record = MicroBatchRecord(
        winners=WINNERS.view(1, 1, N, 1),
        price=torch.zeros(1, 1, N),
        affinity=nothing + torch.tensor([0.0, 0.0, math.log(2)], dtype=torch.float64),
        gate_logits=gate,
        selection_bias=nothing,
        token_loss=torch.full((1, N), 3.0),
        mask=torch.ones(1, N, dtype=torch.bool),
        critic_loss=torch.zeros(()),
    )
    sums = torch.zeros(3, dtype=torch.float64)
    credit = MeasuredCredit(
        layer=torch.zeros(3, dtype=torch.int64),
        expert=torch.arange(3),
        effect=torch.tensor([0.8, 0.3, -0.1], dtype=torch.float64),
        served=torch.tensor([4.0, 3.0, 1.0], dtype=torch.float64),
        bid=sums,
        price=sums,
    )
    return record, credit


def settled() -> tuple[CalibratedMarket, MarketReport, MicroBatchRecord]:
    world = World(torch.zeros(1, 3), torch.zeros(1, 3), top_k=1)
    market = market_of(example(), world)
    market.state.capital.copy_(torch.tensor([[2.0, 0.5, 0.5]]))
    record, credit = window()
    return market, settle(market, [record], credit, critics_of(world)), record


def table() -> dict[str, list[float]]:
    """Rows of the page's table by the first words of their name."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    return {name: [float(value) for value in values] for name, *values in cells}


def computed() -> dict[str, Tensor]:
    """The same rows from the market's state and report, [3] each."""
    market, report, record = settled()
    state, config = market.state, market.config
    profits = profit(state.credit, state.credit_squares, config.credit.prior_tokens)
    quote = market.quote(0)
    unit = state.gate_deviation()[0]
    bias = quote.bias(torch.zeros(1, 1, 3, dtype=torch.float64), None)[0, 0] / unit
    rows = {row.reason: row.amount[0] for row in report.rows}
    return {
        "value per": profits.value,
        "profit": profits.rate,
        "score": profits.score,
        "wealth tax": torch.stack([rows["wealth_tax"], *[rows["wealth_tax"] * 0] * 2]),
        "idle tax": torch.stack([*[rows["idle_tax"] * 0] * 2, rows["idle_tax"]]),
        "wealth after": state.capital,
        "critic's": forecast(record.affinity.double().sum((1, 2)), torch.tensor(8.0)).exp(),
        "grant": state.grants,
        "subsidy": subsidy(config.ventures, state),
        "outlook": outlook(profits),
        "congestion": state.congestion,
        "log(3 c)": (3 * state.capital_share()).log(),
        "bias": bias,
        "next bids": bias - quote.toll() / unit,
    }


@pytest.mark.parametrize("start", computed())
def test_row(start: str) -> None:
    (row,) = (values for name, values in table().items() if name.startswith(start))
    assert computed()[start].flatten().tolist() == pytest.approx(row, abs=6e-5)


def test_steps_between() -> None:
    """Rows that the market passes through and does not keep, by the page's own arithmetic."""
    rows = table()
    (before,) = (values for name, values in rows.items() if name.startswith("wealth before"))
    (taxed,) = (values for name, values in rows.items() if name.startswith("after the log tax"))
    (grown,) = (values for name, values in rows.items() if name.startswith("times exp"))
    (load,) = (values for name, values in rows.items() if name.startswith("relative excess"))
    (after,) = (values for name, values in rows.items() if name.startswith("wealth after"))
    roots = [math.sqrt(value) for value in before]
    assert taxed == pytest.approx([3 * root / sum(roots) for root in roots])
    assert sum(grown) == pytest.approx(3, abs=1e-4)
    assert load == [0.5, 0.125, -0.625]
    assert after == pytest.approx([grown[0] - 0.1767, grown[1], grown[2] - 0.2147], abs=1.1e-4)


def test_the_critic_and_the_money() -> None:
    market, report, _ = settled()
    assert report.metrics["critic_score"].item() == pytest.approx(-0.4548, abs=5e-5)
    assert market.state.purse.item() == pytest.approx(0.7966, abs=5e-5)
    assert market.state.money().item() == pytest.approx(3, abs=1e-12)
    assert market.state.treasury.item() == pytest.approx(0, abs=1e-12)
    for figure in ("-0.4548", "0.7966", "1/1.5635", "0.1247"):
        assert figure in PAGE.read_text()
    assert report.metrics["gain"].item() == pytest.approx(1 / 1.5635, abs=5e-5)
    assert not {row.reason for row in report.rows if row.reason in ("floor", "qe") and row.amount.sum() > 1e-12}
