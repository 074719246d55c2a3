"""Random settlement windows for the tests of this room."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from camoe.config.economy import CriticConfig
from camoe.economy.critic import Critic
from camoe.economy.market import CapitalMarket
from camoe.economy.market_report import MarketReport
from camoe.economy.settlement_window import MicroBatchRecord, SettlementWindow

PER_LAYER = ("winners", "price", "affinity", "gate_logits", "selection_bias")
PER_TOKEN = ("token_loss", "mask")


@dataclass(frozen=True)
class Shape:
    """L, B, T, K, E."""

    n_layer: int = 3
    batch: int = 8
    time: int = 5
    top_k: int = 2
    n_expert: int = 4


def random_record(seed: int, shape: Shape = Shape(), *, padding: float = 0.3) -> MicroBatchRecord:
    """A record whose losses vary around 3 nats and whose masked positions have loss 0."""
    generator = torch.Generator().manual_seed(seed)
    tokens, per_expert = (shape.batch, shape.time), (shape.n_layer, shape.batch, shape.time, shape.n_expert)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    mask = torch.rand(*tokens, generator=generator) >= padding
    skew = torch.linspace(0, 2, shape.n_expert)
    return MicroBatchRecord(
        winners=(normal(*per_expert) + skew).argsort(-1, descending=True)[..., : shape.top_k],
        price=normal(*per_expert[:-1]).abs(),
        affinity=normal(*per_expert) * 0.5,
        gate_logits=normal(*per_expert),
        selection_bias=normal(*per_expert),
        token_loss=(normal(*tokens) + 3) * mask,
        mask=mask,
        critic_loss=torch.rand((), generator=generator),
    )


def pieces(record: MicroBatchRecord) -> list[MicroBatchRecord]:
    """The same tokens as one record per sequence."""
    parts = []
    for row in range(record.token_loss.shape[0]):
        changes: dict[str, Any] = {name: getattr(record, name)[:, row : row + 1] for name in PER_LAYER}
        changes |= {name: getattr(record, name)[row : row + 1] for name in PER_TOKEN}
        parts.append(replace(record, **changes))
    return parts


def poisoned_padding(record: MicroBatchRecord) -> MicroBatchRecord:
    """The same record with nonsense at every masked position."""
    junk: dict[str, Any] = {
        name: torch.where(record.mask[..., None], getattr(record, name), torch.nan)
        for name in ("affinity", "gate_logits", "selection_bias")
    }
    return replace(
        record,
        winners=torch.where(record.mask[..., None], record.winners, 0),
        price=torch.where(record.mask, record.price, torch.inf),
        token_loss=torch.where(record.mask, record.token_loss, torch.nan),
        **junk,
    )


def new_critics(shape: Shape, n_embd: int = 6) -> list[nn.Module]:
    torch.manual_seed(0)
    return [Critic(n_embd, shape.n_expert, CriticConfig()) for _ in range(shape.n_layer)]


def unequal(market: CapitalMarket, seed: int) -> CapitalMarket:
    """The same market after some history: unequal capital, some critics poor or in debt."""
    generator = torch.Generator().manual_seed(seed)
    state = market.state
    for buffer, spread in ((state.capital, 1.5), (state.purse, 1.0)):
        buffer.mul_(torch.rand(buffer.shape, generator=generator) * spread)
    state.debt.copy_(torch.rand(state.debt.shape, generator=generator) * 500)
    state.performance_ema.copy_(torch.randn(state.performance_ema.shape, generator=generator) * 0.1)
    state.selection_ema.copy_(torch.rand(state.selection_ema.shape, generator=generator) * 0.1)
    state.bailout_count.copy_(torch.arange(len(state.bailout_count)))
    return market


def settle(
    market: CapitalMarket, records: list[MicroBatchRecord], critics: list[nn.Module], phase: str = "normal"
) -> MarketReport:
    return market.settle(SettlementWindow(records), critics, phase_name=phase)


def buffers_of(market: CapitalMarket) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in market.state.named_buffers()}
