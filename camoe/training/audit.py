"""The audit: what single experts of one layer are worth on whole sequences, measured by running them again."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from camoe.economy.measured_credit import MeasuredCredit
from camoe.model.language_model import LanguageModel
from camoe.model.routing_trace import RoutingTrace
from camoe.routing.decision import RoutingDecision
from camoe.routing.election_terms import NOBODY, AuditedLayer, ElectionTerms
from camoe.training.experiments import AuditDraw
from camoe.training.objectives import Batch, Losses

HALF = 0.5


def measure_credit(
    model: LanguageModel, batch: Batch, terms: ElectionTerms, losses: Losses, draw: AuditDraw, kind: str
) -> MeasuredCredit:
    """Run the drawn sequences again from the audited layer's input, and compare with the run that made `losses`.

    kind: "replacement" bans the drawn expert, "leave_one_out" each in turn, so that the next bidder serves
    (economy B4); "midpoint" differentiates at half of the layer's mixture weights. No weight gets a gradient.
    """
    if kind == "midpoint":
        return _midpoint(model, batch, terms, losses, draw)
    rows, banned = draw.rows, draw.experts
    if kind == "leave_one_out":
        n_expert = model.config.experts.total
        rows, banned = rows.repeat_interleave(n_expert), torch.arange(n_expert, device=rows.device).repeat(len(rows))
    audited = AuditedLayer(draw.layer, banned)
    with torch.no_grad():
        again = _run_again(model, batch, terms, losses, rows, audited)
    effect = (again.token_loss - losses.token_loss[rows]).double().sum(-1)
    return _credit(losses, draw.layer, rows, banned, effect)


def _midpoint(
    model: LanguageModel, batch: Batch, terms: ElectionTerms, losses: Losses, draw: AuditDraw
) -> MeasuredCredit:
    """-g dl/dg at half of the weights g, for every expert of the drawn sequences (economy B4, midpoint)."""
    audited = AuditedLayer(draw.layer, torch.full_like(draw.rows, NOBODY), weight_factor=HALF)
    with torch.enable_grad():
        again = _run_again(model, batch, terms, losses, draw.rows, audited)
        (slope,) = torch.autograd.grad(again.nats, again.decision.weights)
    value = (-slope * again.decision.weights.detach() / HALF).double()  # [S,T,K], nats
    value = torch.where(losses.mask[draw.rows].unsqueeze(-1), value, 0)
    experts = torch.arange(model.config.experts.total, device=draw.rows.device)
    effect = torch.where(again.decision.experts == experts[:, None, None, None], value, 0).sum((2, 3))
    rows = draw.rows.repeat(len(experts))
    return _credit(losses, draw.layer, rows, experts.repeat_interleave(len(draw.rows)), effect.flatten())


class _SecondRun(NamedTuple):
    """The sum of the losses [], the losses [S,T] and the audited layer's decision."""

    nats: Tensor
    token_loss: Tensor
    decision: RoutingDecision


def _run_again(
    model: LanguageModel, batch: Batch, terms: ElectionTerms, losses: Losses, rows: Tensor, audited: AuditedLayer
) -> _SecondRun:
    entry, trace = losses.trace.audited_input, RoutingTrace()
    assert entry is not None, "the first run keeps the audited layer's input"
    hidden, _ = model.hidden(
        batch.inputs[rows], terms=terms.of_rows(rows, audited), trace=trace, resume_at=entry.of_rows(rows)
    )
    nats, token_loss = model.cross_entropy(hidden, batch.targets[rows])
    return _SecondRun(nats, token_loss, trace.layers[0].decision)


def _credit(losses: Losses, layer: int, rows: Tensor, experts: Tensor, effect: Tensor) -> MeasuredCredit:
    decision = losses.trace.layers[layer].decision
    return MeasuredCredit.of_audit(
        layer,
        experts,
        effect,
        winners=decision.experts[rows],
        bids=decision.adjusted_logits[rows],
        price=decision.price[rows],
        mask=losses.mask[rows],
    )
