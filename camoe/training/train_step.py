"""One optimiser step: every micro-batch forward and backward, then market, then weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from camoe.economy.market_report import MarketReport
from camoe.model.language_model import LanguageModel
from camoe.model.rooms import room
from camoe.routing.decision import RoutingDecision
from camoe.tracking.routing_statistics import RoutingStatistics
from camoe.training.objectives import Batch, compute_losses, settlement_record
from camoe.training.phases import Phase


@dataclass(frozen=True)
class StepResult:
    """What one step did. `losses`: weighted terms, summed over the window. `applied`: False when it was not finite."""

    losses: dict[str, Tensor]
    grad_norm: Tensor
    market: MarketReport | None
    applied: bool


def micro_batches(window: Tensor, noise: Tensor, size: int) -> Iterator[tuple[Batch, Tensor]]:
    """Cut an optimiser step's token windows [G,T+1] and noise [G,L,T,E] into micro-batches of `size` sequences."""
    for tokens, draws in zip(window.split(size), noise.split(size), strict=True):
        yield Batch(inputs=tokens[:, :-1], targets=tokens[:, 1:]), draws


def train_step(
    model: LanguageModel,
    optimizer: torch.optim.Optimizer,
    batches: list[tuple[Batch, Tensor]],
    phase: Phase,
    statistics: RoutingStatistics,
    *,
    grad_clip: float,
) -> StepResult:
    """Accumulate gradients over the window, settle the market once, then update the weights once.

    A loss or gradient that is not finite leaves weights, optimiser, market and statistics as they were.
    """
    optimizer.zero_grad(set_to_none=True)
    window_tokens = torch.stack([batch.mask.sum() for batch, _ in batches]).sum()
    settlement, totals = model.market.open_window(), dict[str, Tensor]()
    routed: list[tuple[RoutingDecision, Tensor]] = []
    for batch, noise in batches:
        with room("head_loss"):
            losses = compute_losses(model, batch, noise=noise, window_tokens=window_tokens)
        if losses.total.requires_grad:
            losses.total.backward()
        for name, value in losses.named().items():
            totals[name] = totals.get(name, torch.zeros_like(value)) + value
        routed.append((losses.trace.decision(), losses.mask))
        if phase.config.market_settles and model.market.has_capital:
            settlement.add(settlement_record(losses))
    with room("gradient_norm"):
        norm = _gradient_norm(model, grad_clip)
    if not torch.isfinite(norm + sum(totals.values())):
        return StepResult(totals, norm, None, applied=False)
    with room("statistics"):
        for routing, mask in routed:
            statistics.add(routing, mask)
    report = None
    if phase.config.market_settles:
        with room("market"):
            report = model.market.settle(settlement, model.critics(), phase_name=phase.name)
    with room("optimizer"):
        optimizer.step()
    return StepResult(totals, norm, report, applied=True)


def _gradient_norm(model: LanguageModel, grad_clip: float) -> Tensor:
    """Global gradient norm before clipping; 0 clips nothing."""
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    limit = grad_clip if grad_clip > 0 else float("inf")
    return torch.nn.utils.clip_grad_norm_(parameters, limit)
