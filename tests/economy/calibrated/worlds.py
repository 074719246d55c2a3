"""Synthetic token streams whose experts have known values, routed by a market's own quotes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from camoe.config.calibrated import CalibratedConfig
from camoe.economy.auction import elect
from camoe.economy.calibrated.bid import base_of_bids
from camoe.economy.critic import Critic, CriticOpinion
from camoe.economy.market import CalibratedMarket, Market
from camoe.economy.market_report import MarketReport
from camoe.economy.measured_credit import MeasuredCredit
from camoe.economy.settlement_window import MicroBatchRecord

Belief = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class World:
    """values [L,E]: nats by which an expert lowers the loss of a token it serves. popularity [L,E]: mean gate logit."""

    values: Tensor
    popularity: Tensor
    top_k: int = 2
    time: int = 64
    loss_noise: float = 1.0
    audit_noise: float = 0.5
    nats: float = 1.0
    """Factor on every loss, to change its unit."""
    padding: float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        """L, E."""
        n_layer, n_expert = self.values.shape
        return n_layer, n_expert

    def record(
        self, market: Market, generator: torch.Generator, sequences: int, *, affinity: Belief | None = None
    ) -> tuple[MicroBatchRecord, MeasuredCredit]:
        """One micro-batch as training would hand it over, and an audit of one random expert per sequence and layer."""
        n_layer, n_expert = self.shape
        shape = (n_layer, sequences, self.time)
        gate = torch.randn(*shape, n_expert, generator=generator) + self.popularity[:, None, None].float()
        hardness = torch.randn(sequences, self.time, generator=generator)
        opinion = torch.zeros(*shape, n_expert) if affinity is None else affinity(torch.empty(*shape, n_expert))
        mask = torch.rand(sequences, self.time, generator=generator) >= self.padding
        bids, bias = self._bids(market, gate, hardness)
        winners, price = self._elect(bids)
        own = self.values[:, None, None].expand(*shape, n_expert)
        served = own.gather(-1, winners).sum((0, -1)) / self.top_k
        noise = torch.randn(sequences, self.time, generator=generator) * self.loss_noise
        record = MicroBatchRecord(
            winners=winners,
            price=price,
            affinity=opinion,
            gate_logits=gate,
            selection_bias=bias,
            token_loss=torch.where(mask, self.nats * (3 + hardness + noise - served), 0),
            mask=mask,
            critic_loss=torch.zeros(()),
            difficulty=hardness.expand(shape),
        )
        return record, self._audit(record, bids, generator)

    def _bids(self, market: Market, gate: Tensor, hardness: Tensor) -> tuple[Tensor, Tensor]:
        biases = []
        for layer, logits in enumerate(gate):
            quote = market.quote(layer)
            biases.append(quote.bias(logits, CriticOpinion(hardness, logits)) - quote.toll())
        bias = torch.stack(biases)
        return base_of_bids(gate, market.quote(0).space) + bias, bias

    def _elect(self, bids: Tensor) -> tuple[Tensor, Tensor]:
        election = elect(bids, self.top_k)
        return election.winners, election.price

    def _audit(self, record: MicroBatchRecord, bids: Tensor, generator: torch.Generator) -> MeasuredCredit:
        """Bans one random expert per sequence and layer; the next bidder brings its own value instead."""
        n_layer, n_expert = self.shape
        runner_up = elect(bids, self.top_k + 1, priced=False).winners[..., self.top_k]
        found = []
        for layer in range(n_layer):
            expert = torch.randint(n_expert, (len(record.mask),), generator=generator)
            served = (record.winners[layer] == expert[:, None, None]).any(-1) & record.mask
            lost = self.values[layer][expert][:, None] - self.values[layer][runner_up[layer]]
            noise = torch.randn(served.shape, generator=generator) * self.audit_noise
            effect = self.nats * torch.where(served, lost / self.top_k + noise, 0).sum(-1)
            found.append(
                MeasuredCredit.of_audit(
                    layer,
                    expert,
                    effect,
                    winners=record.winners[layer],
                    bids=bids[layer],
                    price=record.price[layer],
                    mask=record.mask,
                )
            )
        return joined(found)


def joined(parts: list[MeasuredCredit]) -> MeasuredCredit:
    """Several audits as one."""
    return MeasuredCredit(
        **{name: torch.cat([getattr(part, name) for part in parts]) for name in MeasuredCredit.__dataclass_fields__}
    )


def market_of(config: CalibratedConfig, world: World, **costs: Any) -> CalibratedMarket:
    market = Market.build(config, *world.shape, world.top_k, **costs)
    assert isinstance(market, CalibratedMarket)
    return market


def critics_of(world: World) -> list[nn.Module]:
    n_layer, n_expert = world.shape
    torch.manual_seed(0)
    return [Critic(6, n_expert, CalibratedConfig().critic) for _ in range(n_layer)]


def settle(
    market: Market, records: list[MicroBatchRecord], credit: MeasuredCredit | None, critics: list[nn.Module]
) -> MarketReport:
    """One settlement of a window of records and, where the market asks for it, an audit."""
    window = market.open_window()
    for record in records:
        window.add(record)
    if credit is not None and market.audits is not None:
        window.add_credit(credit)
    return market.settle(window, critics, phase_name="normal")


def run(
    world: World,
    config: CalibratedConfig,
    *,
    tokens: int,
    per_update: int,
    seed: int = 0,
    affinity: Belief | None = None,
    **costs: Any,
) -> tuple[CalibratedMarket, list[MarketReport]]:
    """A market after `tokens` tokens, settled every `per_update`, and all its reports."""
    market, critics = market_of(config, world, **costs), critics_of(world)
    generator = torch.Generator().manual_seed(seed)
    reports = []
    for _ in range(max(1, tokens // per_update)):
        record, credit = world.record(market, generator, max(1, per_update // world.time), affinity=affinity)
        reports.append(settle(market, [record], credit, critics))
    return market, reports


def pieces(record: MicroBatchRecord) -> list[MicroBatchRecord]:
    """The same tokens as one record per sequence."""
    per_layer = ("winners", "price", "affinity", "gate_logits", "selection_bias", "difficulty")
    parts = []
    for row in range(len(record.mask)):
        changes: dict[str, Any] = {name: getattr(record, name)[:, row : row + 1] for name in per_layer}
        changes |= {name: getattr(record, name)[row : row + 1] for name in ("token_loss", "mask")}
        parts.append(replace(record, **changes))
    return parts


def spearman(x: Tensor, y: Tensor) -> float:
    ranks = [v.argsort().argsort().double() for v in (x, y)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])
