"""What a critic's long and short positions earn once the outcome is known.

A stake of bid_scale * |affinity| stands on every token and expert: long where affinity > 0, short where it is < 0.
Stakes and revenue are added to the critic's purse as they are (economy A.8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from camoe.economy.arithmetic import moving_average, ratio
from camoe.economy.settlement_window import MicroBatchRecord
from camoe.kernels.ranks import ALONE, Ranks

SURE_THING_PREMIUM = 1.25
LEAST_BONUS, LARGEST_BONUS = 0.1, 2.0
ACCURACY_MOMENTUM = 0.95


@dataclass(frozen=True, kw_only=True)
class SettlementTerms:
    """Constants of one settlement."""

    reward: float
    penalty: float
    commission: float
    bonus: Tensor
    """[], factor on the commission."""
    dividend_scale: float
    """Extra reward per nat above the mean performance."""
    dividend_std_factor: float
    bid_scale: float


class PositionSums(NamedTuple):
    """Sums over the positions of a window, [L] float64. Every field adds up over micro-batches and over ranks."""

    revenue: Tensor
    stakes: Tensor
    correct: Tensor
    positions: Tensor

    def profit(self, terms: SettlementTerms) -> Tensor:
        """[L], commission on the revenue, times the bonus, less all stakes."""
        return self.revenue * terms.commission * terms.bonus - self.stakes

    def updated_accuracy(self, accuracy: Tensor) -> Tensor:
        """[L], moving average of the share of positions that were right; without positions it stays."""
        updated = moving_average(accuracy, ratio(self.correct, self.positions), ACCURACY_MOMENTUM)
        return torch.where(self.positions > 0, updated, accuracy)


def learning_bonus(signal: Tensor, *, scale: float, low: float, high: float) -> Tensor:
    """Factor on revenue [] for a critic whose loss falls: clip(1 + scale * clip(signal, low, high), 0.1, 2)."""
    return (1 + scale * signal.clamp(low, high)).clamp(LEAST_BONUS, LARGEST_BONUS)


def measure_positions(
    records: Sequence[MicroBatchRecord],
    baseline: Tensor,
    mean_loss: Tensor,
    loss_deviation: Tensor,
    terms: SettlementTerms,
    ranks: Ranks = ALONE,
) -> PositionSums:
    """Second pass over the window, with the new baseline [L] and the window's mean and deviation of the loss []."""
    columns = zip(*(_measure(record, baseline, mean_loss, loss_deviation, terms) for record in records), strict=True)
    return PositionSums(*ranks.sum([torch.stack(column).sum(0) for column in columns]))


def _measure(
    record: MicroBatchRecord, baseline: Tensor, mean_loss: Tensor, loss_deviation: Tensor, terms: SettlementTerms
) -> PositionSums:
    long, short = record.affinity > 0, record.affinity < 0
    won = record.won()
    good = (record.token_loss < baseline[:, None, None]).unsqueeze(-1)
    dividend, premium = _dividends(record, mean_loss, loss_deviation, terms)
    found, avoided, warned = long & won & good, short & ~won, short & won & ~good
    rewarded = 1.5 * found.double() + 1.3 * avoided.double() + 1.2 * warned.double()
    consoled = 0.5 * (long & ~won).double() + 0.2 * (short & won & good).double()
    stake = terms.bid_scale * record.affinity.double().abs()
    revenue = stake * (terms.reward * dividend * rewarded + terms.penalty * premium * consoled)
    return PositionSums(
        revenue=_over_positions(revenue),
        stakes=_over_positions(stake),
        correct=_over_positions(found | avoided | warned),
        positions=_over_positions(long | short),
    )


def _dividends(
    record: MicroBatchRecord, mean_loss: Tensor, loss_deviation: Tensor, terms: SettlementTerms
) -> tuple[Tensor, Tensor]:
    """Factors [B,T,1] on rewards and on consolations of tokens that went better than the mean; 1 without dividends."""
    # performance minus its mean: the baseline cancels, so that this is the same in every layer
    advantage = (mean_loss - record.token_loss.double()).unsqueeze(-1)
    dividend = 1 + terms.dividend_scale * advantage.clamp(min=0)
    sure = (advantage > terms.dividend_std_factor * loss_deviation) & (terms.dividend_scale > 0)
    return dividend, torch.where(sure, SURE_THING_PREMIUM, 1.0)


def _over_positions(values: Tensor) -> Tensor:
    """Sum of [L,B,T,E] over everything but layers."""
    return values.sum((1, 2, 3), dtype=torch.float64)
