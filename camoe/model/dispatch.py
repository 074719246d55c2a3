"""Running every expert on just the tokens it won: sort once, run contiguous segments, gather back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from camoe.model.experts.expert import Expert, ExpertContext
from camoe.model.prefix_map import PrefixMap


@dataclass(frozen=True)
class DispatchPlan:
    """Assignments sorted by expert.

    tokens: [n*K] token of each assignment, sorted by expert (stable, so tokens rise within a segment).
    inverse: [n*K] place of assignment (token, rank) in the sorted order.
    counts: assignments of each expert.
    """

    tokens: Tensor
    inverse: Tensor
    counts: list[int]


def plan_dispatch(experts: Tensor, n_expert: int) -> DispatchPlan:
    """Plan for winners [n,K]; deterministic, no scatter-add."""
    flat = experts.flatten()
    order = torch.argsort(flat, stable=True)
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(order.numel(), device=order.device)
    counts = torch.bincount(flat, minlength=n_expert).tolist()
    return DispatchPlan(tokens=order // experts.shape[-1], inverse=inverse, counts=counts)


def run_experts(
    experts: Sequence[Expert],
    winners: Tensor,
    h: Tensor,
    previous: Tensor,
    make_prefix: Callable[[Tensor], Tensor] | None,
    prefix_map: PrefixMap | None,
) -> Tensor:
    """Outputs [n,K,C] of each token's winners [n,K], from hidden vectors and their predecessors [n,C].

    `make_prefix` maps token indices [m] to low-rank rows [m,P,r]; it is asked once, for the tokens of the experts that
    need them. An expert's non-finite output reaches only the tokens it won.
    """
    plan = plan_dispatch(winners, len(experts))
    segments = plan.tokens.split(plan.counts)
    prefix = _PrefixOfTokens(experts, segments, h.shape[0], make_prefix)

    def context(expert: Expert, tokens: Tensor) -> ExpertContext:
        return ExpertContext(previous[tokens], prefix.of(tokens) if expert.needs_prefix else None, prefix_map)

    outputs = [expert(h[tokens], context(expert, tokens)) for expert, tokens in zip(experts, segments, strict=True)]
    return torch.cat(outputs)[plan.inverse].unflatten(0, winners.shape)


class _PrefixOfTokens:
    """Low-rank rows made once for every token that some prefix expert won, even if several won it."""

    def __init__(
        self,
        experts: Sequence[Expert],
        segments: Sequence[Tensor],
        n_token: int,
        make_prefix: Callable[[Tensor], Tensor] | None,
    ) -> None:
        wanted = [tokens for expert, tokens in zip(experts, segments, strict=True) if expert.needs_prefix]
        if make_prefix is None or not wanted:
            return
        chosen = torch.zeros(n_token, dtype=torch.bool, device=wanted[0].device)
        chosen[torch.cat(wanted)] = True
        self.rows = make_prefix(chosen.nonzero().squeeze(1))
        self.row_of_token = chosen.cumsum(0) - 1

    def of(self, tokens: Tensor) -> Tensor:
        """Rows [m,P,r] of the given tokens [m]."""
        return self.rows[self.row_of_token[tokens]]
