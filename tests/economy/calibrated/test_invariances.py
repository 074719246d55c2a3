"""What must not change the calibrated economy: units, sizes, order, padding, cuts and interruptions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from calibrated.worlds import World, critics_of, joined, market_of, pieces, run, settle
from camoe.config.calibrated import CREDITS, AlphaConfig, CalibratedConfig, CapitalConfig, CreditConfig
from camoe.economy.market import CalibratedMarket
from camoe.economy.market_report import MarketReport
from camoe.economy.measured_credit import MeasuredCredit
from camoe.economy.settlement_window import MicroBatchRecord

VALUES = torch.tensor([[0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.1, 0.4, 0.2, 0.3, 0.0]], dtype=torch.float64)
WORLD = World(VALUES, torch.tensor([[0.5, 0.0, -0.5, 0.2, 0.0, 0.1], [0.0, 0.3, 0.0, -0.3, 0.0, 0.2]]), time=32)
STEP = {"tokens": 12 * 1024, "per_update": 1024}
Event = tuple[MicroBatchRecord, MeasuredCredit]


def fast(**changes: Any) -> CalibratedConfig:
    """The defaults with horizons short enough for a test."""
    config = CalibratedConfig(**changes)
    config.credit.half_life, config.credit.prior_tokens = 100e3, 100.0
    config.capital.half_life = config.capital.tax_half_life = 20e3
    config.idle_tax.load_half_life = config.bid.half_life = 20e3
    return config


def kept(market: CalibratedMarket) -> dict[str, Tensor]:
    return dict(market.state.named_buffers())


@pytest.mark.parametrize("credit", [kind for kind in CREDITS if kind != "gradient"])
@pytest.mark.parametrize("factor", [1 / math.log(2), 10.0], ids=["bits", "x10"])
def test_unit_of_the_loss(factor: float, credit: str) -> None:
    """Audits, token losses and advantages: shares to 1e-9 (the same up to rounding)."""
    config = fast(credit=CreditConfig(kind=credit), alpha=AlphaConfig(kind="holdout"))
    shares = [run(world, config, **STEP)[0].state.capital_share() for world in (WORLD, replace(WORLD, nats=factor))]
    torch.testing.assert_close(*shares, rtol=1e-9, atol=1e-9)
    assert shares[0].std() > 0.01


@pytest.mark.parametrize("kind", ["hedge", "additive"])
def test_amount_of_money(kind: str) -> None:
    """M = 6 and M = 10,000: the same shares, and prices and grants in proportion."""
    markets = []
    for money in (1.0, 10_000 / 6):
        config = fast(capital=CapitalConfig(kind=kind, money_per_expert=money))
        markets.append(run(WORLD, config, **STEP)[0])
    torch.testing.assert_close(*(m.state.capital_share() for m in markets), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(*(m.state.money() / m.state.capital.sum() for m in markets), rtol=1e-9, atol=1e-12)
    assert float(markets[1].state.money()[0]) == pytest.approx(10_000, rel=1e-9)


def stream(chunks: int, sequences: int) -> list[Event]:
    """Micro-batches whose elections no market has moved, so that all ways to cut them see the same."""
    market, generator = market_of(fast(alpha=AlphaConfig(kind="fixed", init=0.0)), WORLD), torch.Generator()
    generator.manual_seed(5)
    return [WORLD.record(market, generator, sequences) for _ in range(chunks)]


def cut(event: Event, sequences: int) -> list[Event]:
    """The same tokens and audits in windows of so many sequences."""
    record, credit = event
    parts, total = pieces(record), len(record.mask)
    found = []
    for first in range(0, total, sequences):
        rows = torch.cat([torch.arange(first, first + sequences) + layer * total for layer in range(len(VALUES))])
        audit = MeasuredCredit(**{name: getattr(credit, name)[rows] for name in MeasuredCredit.__dataclass_fields__})
        found.append((_glued(parts[first : first + sequences]), audit))
    return found


def _glued(parts: list[MicroBatchRecord]) -> MicroBatchRecord:
    per_layer = ("winners", "price", "affinity", "gate_logits", "selection_bias", "difficulty")
    changes: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts], 1) for name in per_layer}
    changes |= {name: torch.cat([getattr(part, name) for part in parts]) for name in ("token_loss", "mask")}
    return replace(parts[0], **changes)


def settled(events: list[Event], config: CalibratedConfig) -> CalibratedMarket:
    market, critics = market_of(config, WORLD), critics_of(WORLD)
    for record, credit in events:
        settle(market, [record], credit, critics)
    return market


@pytest.mark.slow
def test_tokens_per_settlement() -> None:
    """The same 196,608 tokens in windows of 256 to 49,152: shares within 0.012."""
    config = fast()
    config.capital.half_life = config.capital.tax_half_life = 125e3
    config.credit.half_life = 1e6
    events = stream(chunks=4, sequences=1536)
    shares = []
    for sequences in (8, 64, 512, 1536):
        windows = [window for event in events for window in cut(event, sequences)]
        shares.append(settled(windows, config).state.capital_share())
    spread = torch.stack(shares).std(0).max() * 2
    assert torch.stack([(share - shares[-1]).abs().max() for share in shares]).max() < 0.012, spread
    assert shares[-1].std() > 0.02


@pytest.mark.parametrize("credit", [kind for kind in CREDITS if kind != "gradient"])
@pytest.mark.parametrize("congestion", ["proportional", "quantile"])
def test_one_large_or_eight_small_micro_batches(credit: str, congestion: str) -> None:
    config = fast(credit=CreditConfig(kind=credit))
    config.congestion.kind = congestion
    results = []
    for split in (False, True):
        market, critics, generator = market_of(config, WORLD), critics_of(WORLD), torch.Generator().manual_seed(3)
        for _ in range(4):
            record, audit = WORLD.record(market, generator, 8)
            report = settle(market, pieces(record) if split else [record], audit, critics)
        results.append(kept(market) | report.metrics)
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-8)


def permuted(event: Event, order: Tensor) -> Event:
    """The same stream with its experts renamed: new expert i is old expert order[i]."""
    record, credit = event
    new_name = order.argsort()
    changes = {name: getattr(record, name)[..., order] for name in ("gate_logits", "selection_bias", "affinity")}
    return replace(record, winners=new_name[record.winners], **changes), replace(credit, expert=new_name[credit.expert])


def test_order_of_the_experts() -> None:
    order, events = torch.tensor([4, 2, 0, 5, 1, 3]), stream(chunks=12, sequences=32)
    straight = settled(events, fast()).state
    renamed = settled([permuted(event, order) for event in events], fast()).state
    for name in ("capital", "grants", "congestion", "load"):
        torch.testing.assert_close(getattr(renamed, name), getattr(straight, name)[:, order], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(renamed.treasury, straight.treasury, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("credit", ["replacement_audit", "token_loss"])
@pytest.mark.parametrize("congestion", ["proportional", "quantile"])
def test_constant_added_to_a_tokens_logits(credit: str, congestion: str) -> None:
    """Neither elections nor anything that is settled notices; float32 logits round at 1e-7."""
    config = fast(credit=CreditConfig(kind=credit))
    config.congestion.kind = congestion
    shifted = []
    for record, audit in stream(chunks=4, sequences=32):
        shift = torch.randint(-8, 8, record.price.shape, generator=torch.Generator().manual_seed(1)) / 4
        gate = record.gate_logits + shift.unsqueeze(-1)
        shifted.append((replace(record, gate_logits=gate, price=record.price + shift), audit))
    plain, moved = (settled(events, config) for events in (stream(4, 32), shifted))
    torch.testing.assert_close(kept(moved), kept(plain), rtol=1e-5, atol=1e-5)


def poisoned(record: MicroBatchRecord) -> MicroBatchRecord:
    """Nonsense at every masked position."""
    padding = ~record.mask
    changes: dict[str, Any] = {
        name: getattr(record, name).masked_fill(padding[..., None], torch.nan)
        for name in ("gate_logits", "selection_bias", "affinity")
    }
    return replace(
        record,
        winners=record.winners.masked_fill(padding[..., None], 0),
        price=record.price.masked_fill(padding, torch.inf),
        difficulty=record.difficulty.masked_fill(padding, torch.nan) if record.difficulty is not None else None,
        token_loss=record.token_loss.masked_fill(padding, torch.nan),
        **changes,
    )


@pytest.mark.parametrize("credit", ["replacement_audit", "advantage"])
@pytest.mark.parametrize("congestion", ["proportional", "quantile"])
def test_content_of_padding(credit: str, congestion: str) -> None:
    config = fast(credit=CreditConfig(kind=credit))
    config.congestion.kind = congestion
    world, results = replace(WORLD, padding=0.3), []
    for spoil in (lambda record: record, poisoned):
        market, critics, generator = market_of(config, world), critics_of(world), torch.Generator().manual_seed(3)
        for _ in range(3):
            record, audit = world.record(market, generator, 8)
            report = settle(market, [spoil(record)], audit, critics)
        results.append(kept(market) | report.flows | report.metrics)
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_a_window_of_nothing_but_padding_moves_nothing() -> None:
    market, critics, generator = market_of(fast(), WORLD), critics_of(WORLD), torch.Generator().manual_seed(3)
    record, audit = WORLD.record(market, generator, 8)
    settle(market, [record], audit, critics)
    before = {name: value.clone() for name, value in kept(market).items() if name != "settlements"}
    report = settle(market, [poisoned(replace(record, mask=torch.zeros_like(record.mask)))], None, critics)
    after = {name: value for name, value in kept(market).items() if name != "settlements"}
    torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12)
    assert all(torch.isfinite(value).all() for value in report.metrics.values())


def test_resumed_is_uninterrupted() -> None:
    config = fast()
    config.placebo.kind = "shuffled"
    market, critics, generator = market_of(config, WORLD), critics_of(WORLD), torch.Generator().manual_seed(3)
    for _ in range(3):
        settle(market, [(event := WORLD.record(market, generator, 8))[0]], event[1], critics)
    restored, its_critics = market_of(config, WORLD), critics_of(WORLD)
    restored.load_state_dict(market.state_dict())
    for critic, copy in zip(critics, its_critics, strict=True):
        copy.load_state_dict(critic.state_dict())
    results: list[dict[str, Tensor]] = []
    for continued, of_layers in ((market, critics), (restored, its_critics)):
        draws = torch.Generator().manual_seed(4)
        reports: list[MarketReport] = []
        for _ in range(3):
            record, audit = WORLD.record(continued, draws, 8)
            reports.append(settle(continued, [record], audit, of_layers))
        results.append(kept(continued) | reports[-1].flows | reports[-1].metrics)
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_audits_may_come_in_any_number_of_parts() -> None:
    record, audit = stream(1, 32)[0]
    halves = [
        MeasuredCredit(**{name: getattr(audit, name)[part] for name in MeasuredCredit.__dataclass_fields__})
        for part in (slice(0, 20), slice(20, None))
    ]
    whole, parts = (market_of(fast(), WORLD).open_window() for _ in range(2))
    whole.add(record)
    parts.add(record)
    whole.add_credit(joined(halves))
    for half in halves:
        parts.add_credit(half)
    torch.testing.assert_close(parts.credit, whole.credit)  # type: ignore[attr-defined]
