"""Which row of which expert each token's assignments are: sorted by expert, contiguous."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DispatchPlan:
    """Assignments sorted by expert, one row each; all those that no expert serves share the last.

    winners: [n,K] the expert of each assignment, the number of experts where it is nobody.
    tokens: [rows] token of each row (stable, so tokens rise within an expert's segment; that of nobody's is any).
    places: [n,K] row of each token's assignments.
    counts: rows of each expert, and of nobody: 1 or, where every winner serves, 0.
    served: of the experts' rows those that places name, the first ones; the others are copies of the last of them.
    """

    winners: Tensor
    tokens: Tensor
    places: Tensor
    counts: list[int]
    served: list[int]


def plan_dispatch(winners: Tensor, n_expert: int, multiple: int = 1) -> DispatchPlan:
    """Plan for winners [n,K] in 0..n_expert, n_expert being nobody; deterministic, no scatter-add.

    multiple: of it every expert's number of rows is one, those without tokens have none.
    """
    flat = winners.flatten()
    order = torch.argsort(flat, stable=True)
    places = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))
    *served, idle = torch.bincount(flat, minlength=n_expert + 1).tolist()
    if idle:
        total = order.numel() - idle
        order, places = order[: total + 1], places.clamp(max=total)
    counts = [*served, min(idle, 1)]
    if multiple > 1:
        order, places, counts = _rounded_up(order, places, counts, flat, multiple)
    return DispatchPlan(winners, order // winners.shape[-1], places.view_as(winners), counts, served)


def _rounded_up(
    order: Tensor, places: Tensor, counts: list[int], group: Tensor, multiple: int
) -> tuple[Tensor, Tensor, list[int]]:
    """The same sorted assignments, places and rows per group, all groups' but the last rounded up to `multiple`.

    group: of each assignment.
    """
    rounded = [-(-count // multiple) * multiple for count in counts[:-1]] + counts[-1:]
    sizes, widths = torch.tensor([counts, rounded], device=order.device)
    gaps = (widths - sizes).cumsum(0) - (widths - sizes)
    group_of_row = torch.repeat_interleave(widths, output_size=sum(rounded))
    row = torch.arange(sum(rounded), device=order.device) - gaps[group_of_row]
    return order[row.minimum(sizes.cumsum(0)[group_of_row] - 1)], places + gaps[group], rounded
