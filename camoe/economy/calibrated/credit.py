"""(4), (6) Value: what an expert brought, in nats, and how sure we are of it.

Letters: L layers, B batch, T time, K winners, E experts, S audited pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from camoe.config.calibrated import NET_CREDITS, CalibratedConfig
from camoe.economy.calibrated.bid import base_of_bids
from camoe.economy.calibrated.price import moments, nats_per_logit
from camoe.economy.calibrated.state import CalibratedState
from camoe.economy.measured_credit import MeasuredCredit
from camoe.economy.settlement_window import MicroBatchRecord


class CreditSums(NamedTuple):
    """Sums over the units of information of a window: assignments of tokens, or audited sequences."""

    credit: Tensor
    """[2,L,E], sums of the net value v - P, nats, and of the tokens served n."""
    squares: Tensor
    """[3,L,E], sums of (v - P)^2, (v - P) n and n^2."""
    moments: Tensor
    """[10,L], moments of value, bid and price; see `price`."""

    @classmethod
    def zeros(cls, state: CalibratedState) -> CreditSums:
        """Sums of nothing."""
        return cls(*map(torch.zeros_like, (state.credit, state.credit_squares, state.value_moments)))


def charges(config: CalibratedConfig) -> bool:
    """Whether a price is due: not where the runner-up has served in earnest, so that the value is net of it."""
    return config.price.kind == "vickrey" and config.credit.kind not in NET_CREDITS


def theta(config: CalibratedConfig, state: CalibratedState) -> Tensor:
    """[L], nats per unit of bid, of the settlements so far."""
    return nats_per_logit(state.value_moments, net=config.credit.kind in NET_CREDITS)


def token_sums(record: MicroBatchRecord, config: CalibratedConfig, state: CalibratedState) -> CreditSums:
    """Sums of a credit that every token gives, from a record without padding."""
    bids = base_of_bids(record.gate_logits, state.space).double() + record.selection_bias.double()
    mean = bids.mean(-1)
    counted = record.mask.unsqueeze(-1).double()
    bid = (bids.gather(-1, record.winners.clamp(min=0)) - mean.unsqueeze(-1)) * counted
    price = ((record.price.double() - mean).unsqueeze(-1) * counted).expand_as(bid)
    value = _token_value(record, config, state).double() * counted.expand_as(bid)
    net = value - (theta(config, state)[:, None, None, None] * price if charges(config) else 0)
    experts = torch.arange(state.n_expert, device=bid.device)
    won = (record.winners.unsqueeze(-1) == experts).double()

    def by_expert(values: Tensor) -> Tensor:
        return torch.einsum("lbtke,lbtk->le", won, values)

    count, total = won.sum((1, 2, 3)), by_expert(net)
    terms = moments(counted.expand_as(bid), value, bid, price)
    return CreditSums(
        credit=torch.stack([total, count]),
        squares=torch.stack([by_expert(net * net), total, count]),
        moments=terms.sum((2, 3, 4)),
    )


def _token_value(record: MicroBatchRecord, config: CalibratedConfig, state: CalibratedState) -> Tensor:
    """v_te of every winner, [L,B,T,K] or less, nats."""
    if config.credit.kind == "gradient":
        if record.weight_credit is None:
            raise ValueError("credit gradient: the record holds no weight_credit")
        return record.weight_credit
    expected = state.loss_mean()
    if config.credit.kind == "advantage" and record.difficulty is not None:
        expected = expected + state.loss_deviation() * record.difficulty.double()
    value = expected - record.token_loss.double()
    return value.expand(record.price.shape).unsqueeze(-1)


def measured_sums(credit: MeasuredCredit, config: CalibratedConfig, state: CalibratedState) -> CreditSums:
    """Sums of what audits measured."""
    served, effect, price = credit.served.double(), credit.effect.double(), credit.price.double()
    experts = torch.arange(state.n_expert, device=served.device)
    layers = torch.arange(state.n_layer, device=served.device)
    in_layer = (credit.layer == layers.unsqueeze(-1)).double() * (served > 0)
    cells = in_layer.unsqueeze(-1) * (credit.expert.unsqueeze(-1) == experts)
    net = effect - (theta(config, state)[credit.layer] * price if charges(config) else 0)

    def by_expert(*values: Tensor) -> Tensor:
        return torch.einsum("lse,vs->vle", cells, torch.stack(values))

    terms = moments(served, effect, credit.bid.double(), price)
    return CreditSums(
        credit=by_expert(net, served),
        squares=by_expert(net * net, net * served, served * served),
        moments=torch.einsum("ls,vs->vl", in_layer, terms),
    )
