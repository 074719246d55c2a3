"""Products of sorted rows with one matrix per group, in one call and without telling the host where groups end.

Wraps torch's grouped_mm. It computes the rows of the groups only and leaves those behind the last group uninitialised:
whoever hands results on selects (`RowGroups.keep`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from camoe.kernels.linear import linear


class RowGroups:
    """Rows 0..n_row-1 cut into E consecutive groups, then rows that belong to none; known on the device only.

    ends: [E] int32, the row behind each group. group: [n_row] int64 group of each row (of the last rows: E-1).
    served: [n_row,1] whether the row belongs to a group.
    """

    def __init__(self, ends: Tensor, n_row: int) -> None:
        self.ends, self.n_row = ends, n_row
        found = torch.searchsorted(ends, torch.arange(n_row, device=ends.device, dtype=ends.dtype), right=True)
        self.served = (found < len(ends))[:, None]
        self.group = found.clamp_max_(len(ends) - 1)

    def keep(self, rows: Tensor) -> Tensor:
        """Rows [n_row,C]; zero, whatever was there, where a row belongs to no group. So are its gradients."""
        return torch.where(self.served, rows, 0)

    def linear(self, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Each row times its group's weight^T: [n_row,out] from x [n_row,in] and E weights [out,in]."""
        x, stack = to_product_dtype(x, stacked(weights))
        product: Tensor = _GroupedLinear.apply(x, stack, self.ends, self.served)
        return product

    def spread(self, values: Sequence[Tensor]) -> Tensor:
        """Each row its group's vector: [n_row,C] from E vectors [C]; summed up again without scatter-add."""
        rows: Tensor = _SpreadVectors.apply(torch.stack(tuple(values)), self.group, self.served)
        return rows

    def select(self, candidates: Sequence[Tensor]) -> Tensor:
        """Each row from its group's candidate, E of them, all [n_row,...]."""
        chosen = candidates[0]
        group = self.group.view(-1, *(1,) * (chosen.dim() - 1))
        for index, candidate in enumerate(candidates[1:], start=1):
            chosen = torch.where(group == index, candidate, chosen)
        return chosen


def stacked(weights: Sequence[Tensor]) -> Tensor:
    """[E,...] from E weights; of one without a copy."""
    return torch.stack(tuple(weights)) if len(weights) > 1 else weights[0][None]


def to_product_dtype(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Cast as autocast would for a matrix product; unchanged outside of it."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(device)) for tensor in tensors)


def product(x: Tensor, weight: Tensor, ends: Tensor | None) -> Tensor:
    """x weight^T; with `ends` [E], x [n,in] is cut into groups and weight is [E,out,in]. No autograd."""
    return linear(x, weight) if ends is None else F.grouped_mm(x, weight.mT, offs=ends)


def product_with_weight(grad: Tensor, weight: Tensor, ends: Tensor | None) -> Tensor:
    """grad weight, the gradient of x in `product`."""
    return grad @ weight if ends is None else F.grouped_mm(grad, weight, offs=ends)


def product_over_rows(grad: Tensor, x: Tensor, ends: Tensor | None) -> Tensor:
    """grad^T x, the gradient of the weight in `product`; of the groups' rows only, zero for a group without rows."""
    return grad.T @ x if ends is None else F.grouped_mm(grad.T, x, offs=ends)


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, ends: Tensor, served: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, ends, served)
        return torch.where(served, product(x, weight, ends), 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, ends, served = ctx.saved_tensors
        for_x, for_weight = ctx.needs_input_grad[:2]
        grad = grad.contiguous()
        grad_x = torch.where(served, product_with_weight(grad, weight, ends), 0) if for_x else None
        return grad_x, product_over_rows(grad, x, ends) if for_weight else None, None, None


class _SpreadVectors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Tensor, served: Tensor) -> Tensor:
        ctx.save_for_backward(group, served)
        ctx.n_group = len(values)
        return values.index_select(0, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        group, served = ctx.saved_tensors
        member = torch.arange(ctx.n_group, device=group.device)[:, None] == group
        return (member & served.T).to(grad.dtype) @ torch.where(served, grad, 0), None, None
