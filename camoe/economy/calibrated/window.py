"""The sums of a settlement window. Micro-batches are reduced as they come; every sum adds up over them and over ranks.

Letters: L layers, B batch, T time, K winners, E experts, N tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from camoe.config.calibrated import AUDITED_CREDITS, CalibratedConfig
from camoe.economy.calibrated.bid import base_of_bids
from camoe.economy.calibrated.credit import CreditSums, measured_sums, token_sums
from camoe.economy.calibrated.rates import quotient
from camoe.economy.calibrated.state import ARM_SUMS, CalibratedState
from camoe.economy.measured_credit import MeasuredCredit
from camoe.economy.settlement_window import MicroBatchRecord
from camoe.kernels.ranks import Ranks


class WindowTotals(NamedTuple):
    """Sums over the real targets t of a window, float64."""

    tokens: Tensor
    """[], N."""
    loss: Tensor
    """[], sum of l_t, nats."""
    loss_square: Tensor
    """[], sum of l_t^2."""
    target: Tensor
    """[2], sums of the z-score of l_t and of its square; z-scores are by the horizon's mean and deviation."""
    gate_std: Tensor
    """[L], sum of the standard deviation over experts of what bids add to."""
    difficulty: Tensor
    """[L], sum of d_t."""
    difficulty_square: Tensor
    """[L], sum of d_t^2."""
    residual: Tensor
    """[L], sum of (z-score - d_t)^2."""
    served: Tensor
    """[L,E], tokens won."""
    gate_favourite: Tensor
    """[L,E], tokens whose largest gate logit is the expert's, among those on which the market has an opinion."""
    market_favourite: Tensor
    """[L,E], tokens on which the market favours the expert."""
    agreed: Tensor
    """[L], tokens on which both favour the same."""
    affinity: Tensor
    """[L,E], sum of the critic's affinity."""
    arms: Tensor
    """[2,7], `ArmSums` of the sequences routed with (0) and without (1) the market."""


@dataclass
class CalibratedWindow:
    """What the micro-batches since the last settlement add up to; `state` is the market's before that settlement."""

    config: CalibratedConfig
    state: CalibratedState
    totals: WindowTotals | None = None
    credit: CreditSums | None = None
    bids: list[Tensor] = field(default_factory=list)
    """[L,N,E] of each micro-batch, bids without congestion price, -inf at padding; only for congestion=quantile."""

    @torch.no_grad()
    def add(self, record: MicroBatchRecord) -> None:
        """Reduce one more micro-batch to its sums."""
        record = _clean(record)
        sums = _measure(record, self.state)
        self.totals = sums if self.totals is None else WindowTotals(*map(torch.add, self.totals, sums))
        if self.config.credit.kind not in AUDITED_CREDITS:
            self._take_in(token_sums(record, self.config, self.state))
        if self.config.congestion.kind == "quantile":
            self.bids.append(_bids_before_congestion(record, self.state))

    @torch.no_grad()
    def add_credit(self, credit: MeasuredCredit) -> None:
        """Take in what an audit found."""
        if self.config.credit.kind not in AUDITED_CREDITS:
            raise ValueError(f"credit {self.config.credit.kind} takes no audits")
        self._take_in(measured_sums(credit, self.config, self.state))

    @torch.no_grad()
    def sum_over(self, ranks: Ranks) -> None:
        """Make the window that of all ranks; not all of them need to have seen an audit."""
        if self.totals is None:
            raise ValueError("the settlement window holds no micro-batch")
        credit = CreditSums.zeros(self.state) if self.credit is None else self.credit
        sums = ranks.sum([*self.totals, *credit])
        self.totals, self.credit = WindowTotals(*sums[: len(self.totals)]), CreditSums(*sums[len(self.totals) :])
        if self.bids:
            self.bids = [ranks.join(torch.cat(self.bids, dim=1), dim=1)]

    def _take_in(self, sums: CreditSums) -> None:
        self.credit = sums if self.credit is None else CreditSums(*map(torch.add, self.credit, sums))


def _clean(record: MicroBatchRecord) -> MicroBatchRecord:
    """The same record with zeros, and no winner, wherever the target is padding, whatever lies there."""
    record = record.without_padding()
    per_expert = record.mask.unsqueeze(-1)
    difficulty, weight_credit = record.difficulty, record.weight_credit
    return replace(
        record,
        gate_logits=torch.where(per_expert, record.gate_logits, 0),
        difficulty=None if difficulty is None else torch.where(record.mask, difficulty, 0),
        weight_credit=None if weight_credit is None else torch.where(per_expert, weight_credit, 0),
    )


def _measure(record: MicroBatchRecord, state: CalibratedState) -> WindowTotals:
    mask, loss = record.mask, record.token_loss.double()
    difficulty = _difficulty(record)
    score = torch.where(mask, quotient(loss - state.loss_mean(), state.loss_deviation()), 0)
    spread = base_of_bids(record.gate_logits, state.space).std(-1, correction=0)
    bias = record.selection_bias
    opinion = mask & (bias.amax(-1) > bias.amin(-1))
    gate_best = _one_hot(record.gate_logits.argmax(-1), state.n_expert, opinion)
    market_best = _one_hot(bias.argmax(-1), state.n_expert, opinion)
    return WindowTotals(
        tokens=mask.sum(dtype=torch.float64),
        loss=loss.sum(),
        loss_square=loss.square().sum(),
        target=torch.stack([score.sum(), score.square().sum()]),
        gate_std=torch.where(mask, spread, 0).sum((1, 2), dtype=torch.float64),
        difficulty=difficulty.sum((1, 2)),
        difficulty_square=difficulty.square().sum((1, 2)),
        residual=torch.where(mask, score - difficulty, 0).square().sum((1, 2)),
        served=record.won().sum((1, 2), dtype=torch.float64),
        gate_favourite=gate_best.sum((1, 2)),
        market_favourite=market_best.sum((1, 2)),
        agreed=(gate_best * market_best).sum((1, 2, 3)),
        affinity=record.affinity.double().sum((1, 2)),
        arms=_arms(record, difficulty, state),
    )


def _difficulty(record: MicroBatchRecord) -> Tensor:
    """[L,B,T] float64; zero where no critic spoke."""
    if record.difficulty is None:
        return torch.zeros_like(record.price, dtype=torch.float64)
    return record.difficulty.double()


def _one_hot(index: Tensor, n_expert: int, counted: Tensor) -> Tensor:
    experts = torch.arange(n_expert, device=index.device)
    return ((index.unsqueeze(-1) == experts) & counted.unsqueeze(-1)).double()


def _arms(record: MicroBatchRecord, difficulty: Tensor, state: CalibratedState) -> Tensor:
    """[2,7] sums over sequences of their weight w (real targets), wy, wx, wyy, wxy, wxx and ww.

    y: mean loss beyond the horizon's mean, so that learning is no effect. x: mean difficulty by the first layer's
    critic, the only one whose input no election has touched.
    """
    weight = record.mask.sum(-1, dtype=torch.float64)
    excess = torch.where(record.mask, record.token_loss.double() - state.loss_mean(), 0)
    y, x = quotient(excess.sum(-1), weight), quotient(difficulty[0].sum(-1), weight)
    sums = torch.stack([torch.ones_like(y), y, x, y * y, x * y, x * x, weight]) * weight
    assert len(sums) == ARM_SUMS
    off = torch.zeros_like(weight) if record.market_off is None else record.market_off.double()
    return torch.stack([(sums * (1 - off)).sum(-1), (sums * off).sum(-1)])


def _bids_before_congestion(record: MicroBatchRecord, state: CalibratedState) -> Tensor:
    """Bids [L,N,E] as they would be without lambda, -inf at padding."""
    own = state.congestion_toll()[:, None, None]
    bids = base_of_bids(record.gate_logits, state.space).double() + record.selection_bias.double() + own
    return torch.where(record.mask.unsqueeze(-1), bids, -torch.inf).flatten(1, 2)
