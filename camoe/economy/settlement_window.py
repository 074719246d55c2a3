"""What the micro-batches of one optimiser step hand to the market.

Letters: L layers, B batch, T time, K winners, E experts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from camoe.economy.measured_credit import MeasuredCredit

NOBODY = -1


@dataclass(frozen=True, kw_only=True)
class MicroBatchRecord:
    """One micro-batch's elections and their outcome, detached from the graph."""

    winners: Tensor
    """[L,B,T,K] int64."""
    price: Tensor
    """[L,B,T], gate-score units."""
    affinity: Tensor
    """[L,B,T,E], the critic's positions."""
    gate_logits: Tensor
    """[L,B,T,E]."""
    selection_bias: Tensor
    """[L,B,T,E], what the market added to the gate, tolls included."""
    token_loss: Tensor
    """[B,T], nats, 0 where masked."""
    mask: Tensor
    """[B,T] bool, True at real targets."""
    critic_loss: Tensor
    """[], mean over real targets."""
    difficulty: Tensor | None = None
    """[L,B,T], what the critics expected; needed by the calibrated economy."""
    market_off: Tensor | None = None
    """[B] bool, sequences held out: routed with a bias of zero; None: none was."""
    weight_credit: Tensor | None = None
    """[L,B,T,K], -g dl/dg of every winner's mixture weight g, nats; needed by the credit "gradient"."""
    padding_counts: bool = False
    """Whether masked positions count as tokens."""

    @property
    def counts(self) -> Tensor:
        """[B,T] bool, the positions that the market counts as tokens."""
        return torch.ones_like(self.mask) if self.padding_counts else self.mask

    def without_padding(self) -> MicroBatchRecord:
        """The same record where masked positions won nothing, cost nothing and hold no position."""
        tokens, per_expert = self.mask, self.mask.unsqueeze(-1)
        return replace(
            self,
            winners=torch.where(per_expert, self.winners, NOBODY),
            price=torch.where(tokens, self.price, 0),
            affinity=torch.where(per_expert, self.affinity, 0),
            selection_bias=torch.where(per_expert, self.selection_bias, 0),
            token_loss=torch.where(tokens, self.token_loss, 0),
        )

    def with_padding(self) -> MicroBatchRecord:
        """The same record where masked positions count as tokens of loss 0, as published."""
        return replace(self, padding_counts=True)

    def won(self) -> Tensor:
        """Which experts won which token, [L,B,T,E] bool."""
        experts = torch.arange(self.affinity.shape[-1], device=self.winners.device)
        return (self.winners.unsqueeze(-1) == experts).any(-2)


class Window(Protocol):
    """The micro-batches since the last settlement, which the market settles as one; see `Market.open_window`."""

    def add(self, record: MicroBatchRecord) -> None:
        """Take in one more micro-batch."""

    def add_credit(self, credit: MeasuredCredit) -> None:
        """Take in what an audit of the window's tokens found; only for markets whose `audits` ask for it."""


@dataclass
class SettlementWindow:
    """A window of the published economies, which go over its micro-batches more than once."""

    records: list[MicroBatchRecord] = field(default_factory=list)

    def add(self, record: MicroBatchRecord) -> None:
        """Keep one more micro-batch."""
        self.records.append(record)

    def add_credit(self, credit: MeasuredCredit) -> None:
        """Refused: the published economies credit the token's loss."""
        raise ValueError(f"the published economies take no audits ({len(credit.expert)} given)")

    def counted(self, *, mask_padding: bool) -> list[MicroBatchRecord]:
        """The records as the market counts them, with or without padding."""
        if mask_padding:
            return [record.without_padding() for record in self.records]
        return [record.with_padding() for record in self.records]
