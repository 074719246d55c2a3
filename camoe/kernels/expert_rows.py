"""Between tokens and the rows that experts compute on: gathering and weighted summing, both ways without scatter-add.

A row is one assignment of a token to an expert; rows are sorted by expert. Every sum over a token's K rows runs in a
fixed order, so results and gradients repeat bit by bit on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from camoe.kernels.dispatch_plan import DispatchPlan
from camoe.kernels.expert_rows_native import expert_inputs_native, expert_outputs_native, serves_expert_rows


def expert_inputs(
    h: Tensor, previous: Tensor, ratios: Sequence[Tensor | None], plan: DispatchPlan
) -> tuple[Tensor, ...]:
    """Input rows of every expert [count,C]: h of its tokens, moved by its ratio [C] towards the tokens before.

    h, previous [n,C]. An expert without a ratio gets h as it is.
    """
    if serves_expert_rows(h, previous, *(ratio for ratio in ratios if ratio is not None)):
        return expert_inputs_native(h, previous, ratios, plan)
    rows = rows_of_tokens(h, plan.tokens, plan.places).split(plan.counts)[:-1]
    if all(ratio is None for ratio in ratios):
        return rows
    before = rows_of_tokens(previous, plan.tokens, plan.places).to(h.dtype).split(plan.counts)[:-1]
    return tuple(
        own if ratio is None else torch.lerp(own, last, ratio.to(h.dtype))
        for own, last, ratio in zip(rows, before, ratios, strict=True)
    )


def mix_outputs(rows: Sequence[Tensor], weights: Tensor, plan: DispatchPlan) -> Tensor:
    """Sums [n,C] of each token's rows, from every expert's output rows [count,C], with weights [n,K]."""
    if serves_expert_rows(weights, *rows):
        return expert_outputs_native(rows, weights, plan)
    nobody = rows[0].new_zeros(plan.counts[-1], rows[0].shape[1])
    return weighted_sum_of_rows(torch.cat((*rows, nobody)), weights, plan.tokens, plan.places)


def rows_of_tokens(h: Tensor, tokens: Tensor, places: Tensor, valid: Tensor | None = None) -> Tensor:
    """Rows [n*K,C], row j being h[tokens[j]], from h [n,C]; places [n,K] says in which rows each token lies.

    There may be more rows; what no place names gets no gradient back, nor do places that are not `valid` [n,K].
    """
    rows: Tensor = _RowsOfTokens.apply(h, tokens, places, valid)
    return rows


def weighted_sum_of_rows(rows: Tensor, weights: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
    """Sums [n,C] over each token's rows, from rows [n*K,C] and weights [n,K]; tokens and places as above.

    In the wider type of the two: rows of bfloat16 do not round the weights.
    """
    wide = torch.promote_types(rows.dtype, weights.dtype)
    mixed: Tensor = _WeightedSumOfRows.apply(rows.to(wide), weights.to(wide), tokens, places)
    return mixed


class _RowsOfTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, tokens: Tensor, places: Tensor, valid: Tensor | None) -> Tensor:
        ctx.save_for_backward(places, valid)
        return h.index_select(0, tokens)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        places, valid = ctx.saved_tensors
        counted = None if valid is None else valid.to(grad.dtype)
        return F.embedding_bag(places, grad.contiguous(), per_sample_weights=counted, mode="sum"), None, None, None


class _WeightedSumOfRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weights, tokens, places)
        return F.embedding_bag(places, rows, per_sample_weights=weights, mode="sum")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weights, tokens, places = ctx.saved_tensors
        grads = grad.index_select(0, tokens)
        grad_weights = None
        if ctx.needs_input_grad[1]:
            by_row = torch.linalg.vecdot(grads, rows)
            grad_weights = by_row[places]
        weight_of_row = weights.new_zeros(tokens.shape).scatter_(0, places.flatten(), weights.flatten())
        return grads.mul_(weight_of_row[:, None]), grad_weights, None, None
