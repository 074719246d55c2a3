"""What holds of every settlement: books close, splits and padding do not matter, nothing is differentiated."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from economy_windows import (
    PER_LAYER,
    Shape,
    buffers_of,
    new_critics,
    pieces,
    poisoned_padding,
    random_record,
    settle,
    unequal,
)
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from camoe.config import ConfigError
from camoe.config.economy import CriticConfig, EconomyConfig, MoneyConfig, V18Config, V21Config
from camoe.economy.market import CapitalMarket, Market
from camoe.economy.market_report import MarketReport
from camoe.economy.published_quote import bid_bias
from camoe.economy.settlement_window import MicroBatchRecord, SettlementWindow

SHAPES = st.builds(
    lambda top_k, more, n_layer, batch, time: Shape(n_layer, batch, time, top_k, top_k + more),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 6),
)
CONFIGS = [V21Config(), V21Config(tax_negative_wealth=True, mask_padding=False), V18Config()]


def history(config: MoneyConfig, shape: Shape, seed: int = 0) -> CapitalMarket:
    return unequal(CapitalMarket(config, shape.n_layer, shape.n_expert), seed)


def harsh(record: MicroBatchRecord, factor: float) -> MicroBatchRecord:
    """The same record with losses so large, of either sign, that capital falls to the floor or explodes."""
    return replace(record, token_loss=record.token_loss * factor, affinity=record.affinity * abs(factor))


@pytest.mark.parametrize("config", CONFIGS, ids=["v21", "v21_published", "v18"])
@hypothesis_settings(deadline=None, max_examples=40)
@given(shape=SHAPES, seed=st.integers(0, 10**6), factor=st.sampled_from([1.0, 300.0, -300.0]))
def test_books_close(config: MoneyConfig, shape: Shape, seed: int, factor: float) -> None:
    market = history(config, shape, seed)
    opening, purses = market.state.capital.double().sum(-1), market.state.purse.double()
    report = settle(market, [harsh(random_record(seed, shape), factor)], new_critics(shape), "criticwarm")

    flows = report.flows
    taken = ("wealth_tax", "idle_tax", "depreciation", "qe_drain", "shrinkage")
    given_ = ("profit", "qe_inject", "lift", "floor_mint", "vc_inject")
    net = sum(flows[name] for name in given_ if name in flows) - sum(flows[name] for name in taken if name in flows)
    close(opening + net, market.state.capital, report.residual)
    if "critic_profit" in flows:
        net = flows["critic_profit"] + flows["critic_clamp"] - flows["critic_repay"] + flows["critic_bailout"]
        close(purses + net, market.state.purse[:, None], report.purse_residual)
    assert all(torch.isfinite(value).all() for value in (*flows.values(), *report.metrics.values()))


def close(expected: torch.Tensor, kept: torch.Tensor, residual: torch.Tensor) -> None:
    """Named flows explain what was kept, to the float32 rounding of the accounts."""
    rounding = 1e-7 * kept.double().abs().sum(-1) + 1e-9 * expected.abs() + 1e-6
    assert ((kept.double().sum(-1) - expected).abs() <= rounding).all()
    assert (residual.abs() <= rounding).all()


def test_minted_money_has_a_name() -> None:
    shape = Shape()
    market = history(V21Config(), shape)
    report = settle(market, [harsh(random_record(0, shape), 300.0)], new_critics(shape))
    assert (report.flows["floor_mint"] > 0).all()
    assert (report.metrics["frac_at_floor"] > 0).all()
    market.state.purse.copy_(torch.tensor([100.0, 5000.0, 30000.0]))
    report = settle(market, [random_record(0, shape)], new_critics(shape))
    assert (report.flows["critic_bailout"] > 0).tolist() == [True, False, False]
    market.state.purse.fill_(100.0)
    losing = replace(random_record(0, shape), affinity=torch.full((3, 8, 5, 4), 100.0))
    assert (settle(market, [losing], new_critics(shape)).flows["critic_clamp"] > 0).all()


@pytest.mark.parametrize("config", CONFIGS, ids=["v21", "v21_published", "v18"])
def test_one_large_or_many_small_micro_batches(config: MoneyConfig) -> None:
    shape, results = Shape(batch=8), []
    whole = random_record(11, shape)
    for records in ([whole], pieces(whole)):
        market, critics = history(config, shape), new_critics(shape)
        for _ in range(3):
            settle(market, records, critics, "criticwarm")
        parameters = {f"{i}.{n}": p for i, critic in enumerate(critics) for n, p in critic.state_dict().items()}
        results.append(buffers_of(market) | parameters)
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-9)


def test_content_of_masked_padding_is_irrelevant() -> None:
    shape, results = Shape(), []
    record = random_record(12, shape)
    for seen in (record, poisoned_padding(record)):
        market = history(V21Config(), shape)
        report = settle(market, [seen], new_critics(shape))
        results.append(buffers_of(market) | report.flows | report.metrics)
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_a_window_of_nothing_but_padding_leaves_finite_state() -> None:
    shape = Shape()
    market, record = history(V21Config(), shape), random_record(0, shape)
    before = buffers_of(market)
    empty = replace(record, mask=torch.zeros_like(record.mask), critic_loss=torch.tensor(torch.nan))
    report = settle(market, [poisoned_padding(empty)], new_critics(shape))
    assert report.flows["profit"].tolist() == [0.0] * 3
    for name in ("baseline", "alpha", "performance_ema", "accuracy"):
        torch.testing.assert_close(getattr(market.state, name), before[name], rtol=1e-6, atol=0)
    assert all(torch.isfinite(buffer).all() for buffer in buffers_of(market).values())


def test_layers_do_not_touch_each_other() -> None:
    shape, results = Shape(), []
    record, other = random_record(13, shape), random_record(14, shape)
    mixed: dict[str, Any] = {
        name: torch.cat([getattr(record, name)[:1], getattr(other, name)[1:]]) for name in PER_LAYER
    }
    for seen in (record, replace(record, **mixed)):
        market = history(V21Config(), shape)
        settle(market, [seen], new_critics(shape))
        results.append({name: b[0] for name, b in buffers_of(market).items() if b.dim()})
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.mark.parametrize(("top_k", "n_expert"), [(1, 2), (2, 3), (3, 8)])
def test_profit_for_any_number_of_winners(top_k: int, n_expert: int) -> None:
    shape = Shape(top_k=top_k, n_expert=n_expert)
    record, market = random_record(15, shape, padding=0.0), history(V21Config(), shape)
    report = settle(market, [record], new_critics(shape))
    earned = market.state.baseline[:, None, None] - record.token_loss - record.price
    torch.testing.assert_close(report.flows["profit"], top_k * earned.double().sum((1, 2)), rtol=1e-5, atol=1e-4)


class NoHostSync(TorchDispatchMode):
    """Refuses what would make the host wait for the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select", "unique2", "equal"), name
        return func(*args, **(kwargs or {}))


def test_settlement_never_waits_for_the_device() -> None:
    shape = Shape()
    market, critics, record = history(V21Config(), shape), new_critics(shape), random_record(0, shape)
    with NoHostSync():
        report = settle(market, [record], critics, "criticwarm")
        with pytest.raises(AssertionError, match="_local_scalar_dense"):  # the guard itself works
            report.residual.sum().item()


def test_nothing_is_differentiated() -> None:
    shape = Shape()
    market, critics, record = history(V21Config(), shape), new_critics(shape), random_record(0, shape)
    market.state.purse.fill_(100.0)
    attached = replace(record, affinity=record.affinity.clone().requires_grad_())
    report = settle(market, [attached], critics)
    assert (report.flows["critic_bailout"] > 0).all()
    assert not any(value.requires_grad for value in (*report.flows.values(), *report.metrics.values()))
    assert not any(buffer.requires_grad for buffer in market.state.buffers())
    assert list(market.parameters()) == []
    for parameter in (p for critic in critics for p in critic.parameters()):
        assert parameter.requires_grad
        assert parameter.is_leaf
        assert parameter.grad is None


def test_report_outlives_the_next_settlement() -> None:
    shape = Shape()
    market, critics = history(V21Config(), shape), new_critics(shape)
    report = settle(market, [random_record(0, shape)], critics)
    alpha = report.metrics["alpha"].clone()
    settle(market, [random_record(1, shape)], critics)
    assert torch.equal(report.metrics["alpha"], alpha)
    assert not torch.equal(market.state.alpha, alpha)


def test_checkpoint_carries_everything() -> None:
    shape = Shape()
    market, critics = history(V21Config(), shape), new_critics(shape)
    settle(market, [random_record(0, shape)], critics, "criticwarm")
    market.bidding = False
    restored, restored_critics = Market.build(V21Config(), 3, 4, 2), new_critics(shape)
    restored.load_state_dict(market.state_dict())
    for critic, copy in zip(critics, restored_critics, strict=True):
        copy.load_state_dict(critic.state_dict())
    assert not restored.bidding
    assert isinstance(restored, CapitalMarket)
    results = []
    for continued, its_critics in ((market, critics), (restored, restored_critics)):
        report = settle(continued, [random_record(1, shape)], its_critics, "criticwarm")
        results.append(buffers_of(continued) | report.flows | report.metrics)
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_bidding_starts_on_and_can_be_switched() -> None:
    market = Market.build(V21Config(), 3, 4, 2)
    assert market.bidding
    market.bidding = False
    assert not market.bidding


def test_no_market_needs_no_special_case() -> None:
    market = Market.build(EconomyConfig(), n_layer=3, n_expert=4, top_k=4)
    market.bidding = True
    assert not market.has_capital
    assert not market.bidding
    assert bid_bias(market.quote(2), torch.rand(2, 5), torch.randn(2, 5, 4)).count_nonzero() == 0
    report = market.settle(SettlementWindow(), [], phase_name="main")
    assert isinstance(report, MarketReport)
    assert report.flows == {}
    assert report.metrics == {}
    assert [name for name in market.state_dict() if name != "_extra_state"] == []


def test_too_few_experts_for_a_price() -> None:
    with pytest.raises(ConfigError, match=r"router\.top_k: 2 of 2 experts .* at most 1"):
        Market.build(V21Config(), n_layer=3, n_expert=2, top_k=2)


def test_two_experts_and_one_winner_settle() -> None:
    shape = Shape(top_k=1, n_expert=2)
    market = Market.build(V21Config(critic=CriticConfig(bid_scale=0.1)), 3, 2, 1)
    assert isinstance(market, CapitalMarket)
    report = settle(market, [random_record(0, shape)], new_critics(shape))
    assert report.metrics["selected_share"].sum(-1).tolist() == pytest.approx([1.0] * 3)


def test_quotes_follow_every_change_of_the_state() -> None:
    """Kept while nothing changes, also in inference mode; never stale after an edit, a copy or a restored state."""
    market = history(V21Config(), Shape(2, 1, 1, 1, 3))
    with torch.inference_mode():
        assert market.quote(1) is market.quote(1)
    saved = {name: value.clone() if torch.is_tensor(value) else value for name, value in market.state_dict().items()}
    before = market.quote(1).capital_share.clone()
    other = deepcopy(market)
    for edited in (market, other):
        edited.state.capital[1, 0] += 500.0
        assert edited.quote(1).capital_share[0] > before[0]
        edited.load_state_dict(saved)
        assert torch.equal(edited.quote(1).capital_share, before)
