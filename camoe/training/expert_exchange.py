"""Exchange of rows among the ranks of an expert-parallel group: all-to-all, forward and backward.

Source: Lepikhin et al., 2021, "GShard", section 3.3: experts are divided among devices, and tokens go to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from camoe.kernels.ranks import Ranks
from camoe.kernels.row_exchange import RowExchange


class GroupExchange(RowExchange):
    """Among `size` ranks that stand side by side; every such group has all experts."""

    def __init__(self, ranks: Ranks, size: int) -> None:
        """All ranks make it together."""
        self.index, self.count = ranks.index % size, size
        groups = [dist.new_group(list(range(first, first + size))) for first in range(0, ranks.count, size)]
        self._group = groups[ranks.index // size]

    def numbers(self, own: Tensor) -> Tensor:
        received = torch.empty_like(own)
        dist.all_to_all_single(received, own.contiguous(), group=self._group)
        return received

    def rows(self, rows: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
        exchanged: Tensor = _Rows.apply(rows, list(sent), list(received), self._group)
        return exchanged


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, sent: list[int], received: list[int], group: Any) -> Tensor:
        ctx.sent, ctx.received, ctx.group = sent, received, group
        return _exchanged(rows, sent, received, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _exchanged(grad, ctx.received, ctx.sent, ctx.group), None, None, None


def _exchanged(rows: Tensor, sent: list[int], received: list[int], group: Any) -> Tensor:
    found = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(found, rows.contiguous(), received, sent, group=group)
    return found
