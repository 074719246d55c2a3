"""v18's settlement against its arithmetic by hand."""

from __future__ import annotations

import torch
from economy_windows import Shape, new_critics, random_record, settle

from camoe.config.economy import V18Config
from camoe.economy.market import CapitalMarket


def expected_capital(market: CapitalMarket, config: V18Config, seed: int) -> torch.Tensor:
    """Profit, tax, control and floor of layer 0, from the capital before."""
    record = random_record(seed)
    capital = market.state.capital[0].double()
    losses = record.token_loss[record.mask].double()
    baseline = 0.99 * market.state.baseline[0].double() + 0.01 * losses.mean()
    for expert in range(4):
        won = record.mask & (record.winners[0] == expert).any(-1)
        capital[expert] += (baseline - record.token_loss - record.price[0])[won].sum()
    capital = capital - config.tax_rate * (capital - config.tax_threshold * capital.mean()).clamp(min=0)
    if capital.sum() > 1.5 * config.total_capital:
        capital = capital * 0.95
    elif capital.sum() < 0.5 * config.total_capital:
        capital = capital + 0.01 * config.total_capital
    return capital.clamp(min=config.total_capital * config.min_capital_share / 4)


def test_capital_by_hand() -> None:
    config = V18Config(total_capital=1000.0)
    for opening in ([300.0, 200.0, 400.0, 100.0], [900.0, 300.0, 200.0, 200.0], [200.0, 1.0, 30.0, 20.0]):
        market = CapitalMarket(config, 3, 4)
        market.state.capital[:] = torch.tensor(opening)
        expected = expected_capital(market, config, seed=2)
        report = settle(market, [random_record(2)], new_critics(Shape()))
        torch.testing.assert_close(market.state.capital[0].double(), expected, rtol=1e-6, atol=0)
        assert report.residual.abs().max() < 1e-3


def test_alpha_and_purses_are_left_alone() -> None:
    market = CapitalMarket(V18Config(alpha_init=0.3), 3, 4)
    critics = new_critics(Shape())
    market.state.purse.fill_(1.0)
    before = [parameter.clone() for critic in critics for parameter in critic.parameters()]
    settle(market, [random_record(0)], critics)
    torch.testing.assert_close(market.state.alpha, torch.full((3,), 0.3))
    assert market.state.purse.tolist() == [1.0] * 3
    after = [parameter for critic in critics for parameter in critic.parameters()]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
