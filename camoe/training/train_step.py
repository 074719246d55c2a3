"""One optimiser step: every micro-batch forward and backward, then market, then weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from camoe.economy.market_report import MarketReport
from camoe.economy.settlement_window import Window
from camoe.kernels.ranks import ALONE, Ranks
from camoe.model.language_model import LanguageModel
from camoe.model.rooms import room
from camoe.model.routing_trace import RoutingTrace
from camoe.routing.decision import RoutingDecision
from camoe.tracking.routing_statistics import RoutingStatistics
from camoe.training.audit import measure_credit
from camoe.training.held_weights import WHOLE, HeldWeights
from camoe.training.micro_batch import MicroBatch
from camoe.training.non_finite import NonFiniteWatch
from camoe.training.objectives import Losses, compute_losses, settlement_record
from camoe.training.phases import Phase
from camoe.training.window_load import load_of_window


@dataclass(frozen=True)
class StepResult:
    """What one step did. `losses`: weighted terms, summed over the window. `figures`: means of its pairs.
    `applied`: False when it was not finite.

    It is the same on all ranks.
    """

    losses: dict[str, Tensor]
    figures: dict[str, Tensor]
    grad_norm: Tensor
    market: MarketReport | None
    applied: bool


def train_step(
    model: LanguageModel,
    optimizer: torch.optim.Optimizer,
    batches: list[MicroBatch],
    phase: Phase,
    statistics: RoutingStatistics,
    *,
    grad_clip: float,
    ranks: Ranks = ALONE,
    weights: HeldWeights = WHOLE,
    watch: NonFiniteWatch | None = None,
) -> StepResult:
    """Accumulate gradients over the window, settle the market once, then update the weights once.

    `batches` are this rank's share of the window; all ranks come to the same weights, market and statistics. A loss or
    gradient that is not finite on any of them leaves weights, optimiser, market and statistics as they were; a `watch`
    raises NonFiniteTensor before.
    """
    optimizer.zero_grad(set_to_none=True)
    (window_tokens,) = ranks.sum([torch.stack([micro.batch.mask.sum() for micro in batches]).sum()])
    settles = phase.config.market_settles and model.market.has_capital
    settlement, totals, figures = model.market.open_window(), dict[str, Tensor](), dict[str, Tensor]()
    routed: list[tuple[RoutingDecision, Tensor]] = []
    window_load = load_of_window(model, batches, ranks)
    for micro in batches:
        losses = _learn_from(model, micro, window_tokens, window_load, ranks, audits=settles, watch=watch)
        _add_up(totals, losses.named())
        _add_up(figures, losses.figures())
        routed.append((losses.trace.decision(), losses.mask))
        if settles:
            _report_to_market(settlement, model, micro, losses, window_tokens, together=weights.together)
    totals, figures = _over_ranks(totals, ranks), _over_ranks(figures, ranks)
    with room("router"):
        balance = model.balancer.window_sums(routed, ranks)
    weights.rest()
    weights.sum_gradients(model, ranks)
    if watch is not None:
        watch.gradients()
    with room("gradient_norm"):
        norm = _clip(_without_critics(model), grad_clip, weights)
        critics = [parameter for critic in model.critics() for parameter in critic.parameters()]
        critic_norm = _clip(critics, grad_clip, weights)
    if not torch.isfinite(norm + critic_norm + sum(totals.values())):
        return StepResult(totals, figures, norm, None, applied=False)
    with room("statistics"):
        statistics.add_step(routed, ranks)
    report = None
    if phase.config.market_settles:
        with room("market"):
            report = model.market.settle(settlement, model.critics(), phase_name=phase.name, ranks=ranks)
    with room("optimizer"):
        optimizer.step()
    with room("router"):
        model.balancer.end_step(balance)
    return StepResult(totals, figures, norm, report, applied=True)


def _add_up(sums: dict[str, Tensor], more: dict[str, Tensor]) -> None:
    for name, value in more.items():
        sums[name] = sums[name] + value if name in sums else value


def _over_ranks(sums: dict[str, Tensor], ranks: Ranks) -> dict[str, Tensor]:
    return dict(zip(sums, ranks.sum(list(sums.values())), strict=True)) if sums else {}


def _learn_from(
    model: LanguageModel,
    micro: MicroBatch,
    window_tokens: Tensor,
    window_load: Tensor | None,
    ranks: Ranks,
    *,
    audits: bool,
    watch: NonFiniteWatch | None,
) -> Losses:
    """Forward and backward of one micro-batch."""
    trace = RoutingTrace(audited_layer=micro.audit.layer if micro.audit and audits else None)
    with room("head_loss"):
        losses = compute_losses(
            model, micro.batch, micro.terms, trace, window_tokens=window_tokens, window_load=window_load, ranks=ranks
        )
    if watch is not None:
        watch.losses(losses)
    if model.market.needs_weight_credit:
        trace.watch_weights()
    if losses.total.requires_grad:
        losses.total.backward()
    return losses


def _report_to_market(
    settlement: Window,
    model: LanguageModel,
    micro: MicroBatch,
    losses: Losses,
    window_tokens: Tensor,
    *,
    together: bool,
) -> None:
    """Elections, their outcome, and what the audits found; `together`: all ranks run the audits, of no sequence too."""
    with room("market"):
        settlement.add(settlement_record(model, losses, micro.terms, window_tokens))
    plan = model.market.audits
    if plan and micro.audit and (together or len(micro.audit.rows)):
        with room("audit"):
            settlement.add_credit(measure_credit(model, micro.batch, micro.terms, losses, micro.audit, plan.kind))


def _without_critics(model: LanguageModel) -> list[torch.nn.Parameter]:
    """Critics read detached inputs and are clipped by themselves, so that having them changes nothing else."""
    critics = {parameter for critic in model.critics() for parameter in critic.parameters()}
    return [parameter for parameter in model.parameters() if parameter not in critics]


def _clip(parameters: list[torch.nn.Parameter], grad_clip: float, weights: HeldWeights) -> Tensor:
    """Their gradient norm before clipping; 0 clips nothing."""
    limit = grad_clip if grad_clip > 0 else float("inf")
    return weights.clip([p for p in parameters if p.grad is not None], limit)
