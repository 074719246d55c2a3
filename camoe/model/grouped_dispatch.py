"""The expert stage with all experts of a kind at once, in which the host never waits for the device.

Who won how many tokens is known on the device only, so every kind gets as many rows as it could win: its experts' rows
come first, sorted by expert, and what follows belongs to nobody, is left out of all products and reaches no result.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from camoe.kernels.expert_rows import rows_of_tokens, weighted_sum_of_rows
from camoe.kernels.grouped_products import RowGroups
from camoe.model.dispatch import TokenInputs
from camoe.model.experts.expert import Expert, ExpertContext


@dataclass(frozen=True)
class Family:
    """The experts of one kind, and the rows that they could win. first: index of the first. groups: one per expert.

    won: [n,K] which assignments are theirs. places: [n,K] rows of those; of the others, any row.
    tokens: [rows] token of each row.
    """

    experts: Sequence[Expert]
    first: int
    groups: RowGroups
    won: Tensor
    places: Tensor
    tokens: Tensor


def plan_families(experts: Sequence[Expert], winners: Tensor) -> list[Family]:
    """Plan for winners [n,K], distinct in every token but for those with index E, who are nobody.

    Experts of a kind stand side by side.
    """
    (n_token, top_k), device = winners.shape, winners.device
    ordered, order = torch.sort(winners.flatten(), stable=True)
    inverse = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=device)).view_as(winners)
    ends = torch.searchsorted(ordered, torch.arange(len(experts), device=device), right=True)
    families, first = [], 0
    for kind in (list(members) for _, members in itertools.groupby(experts, type)):
        last, n_row = first + len(kind), n_token * min(top_k, len(kind))
        start = ends[first - 1] if first else torch.zeros_like(ends[0])
        rows = (torch.arange(n_row, device=device) + start) % len(order)
        families.append(
            Family(
                experts=kind,
                first=first,
                groups=RowGroups((ends[first:last] - start).to(torch.int32), n_row),
                won=(winners >= first) & (winners < last),
                places=(inverse - start).clamp(0, n_row - 1),
                tokens=order.index_select(0, rows) // top_k,
            )
        )
        first = last
    return families


def run_experts_grouped(experts: Sequence[Expert], winners: Tensor, weights: Tensor, inputs: TokenInputs) -> Tensor:
    """What `run_experts` computes: weighted sums [n,C] of the outputs of each token's winners [n,K]."""
    families = plan_families(experts, winners)
    tokens, places = _all_rows(families, nobody=winners == len(experts))
    sizes = [*(family.groups.n_row for family in families), 1]
    h_rows = rows_of_tokens(inputs.h, tokens, places).split(sizes)
    previous_rows = rows_of_tokens(inputs.previous, tokens, places).split(sizes)
    outputs = []
    for family, h, previous in zip(families, h_rows[:-1], previous_rows[:-1], strict=True):
        kind = type(family.experts[0])
        low = _low_rows(family, inputs) if kind.needs_prefix else None
        outputs.append(
            kind.forward_grouped(family.experts, h, ExpertContext(previous, low, inputs.prefix_map), family.groups)
        )
    outputs.append(torch.zeros_like(h_rows[-1], dtype=outputs[0].dtype))
    return weighted_sum_of_rows(torch.cat(outputs), weights, tokens, places)


def _all_rows(families: Sequence[Family], nobody: Tensor) -> tuple[Tensor, Tensor]:
    """tokens [rows] and places [n,K] of all families' rows, one family after the other, and one row for `nobody`."""
    places, before = families[0].places, families[0].groups.n_row
    for family in families[1:]:
        places = torch.where(family.won, family.places + before, places)
        before += family.groups.n_row
    tokens = [family.tokens for family in families]
    return torch.cat([*tokens, tokens[0].new_zeros(1)]), places.masked_fill(nobody, before)


def _low_rows(family: Family, inputs: TokenInputs) -> Tensor:
    """Low-rank rows [rows,P,r] of a family's rows, made once for every token that some expert of it won."""
    assert inputs.make_low is not None, "the mixture gives rows to every expert that needs a prefix"
    wanted = family.won.any(1)
    order = torch.argsort(~wanted, stable=True)
    ends = wanted.sum().to(torch.int32)[None]
    low = inputs.make_low(order, RowGroups(ends, len(order)))
    if len(family.experts) == 1:
        # The only expert's tokens rise, as these do.
        return low
    row_of_token = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    rows = rows_of_tokens(
        low.flatten(1),
        row_of_token.index_select(0, family.tokens),
        family.places.index_select(0, order),
        family.won.index_select(0, order),
    )
    return rows.unflatten(1, low.shape[1:])
