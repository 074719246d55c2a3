"""The squared-ReLU network of RWKV's channel mixing as one differentiable operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from camoe.kernels.grouped_products import (
    RowGroups,
    product,
    product_over_rows,
    product_with_weight,
    stacked,
    to_product_dtype,
)
from camoe.kernels.without_autocast import without_autocast


def squared_relu_network(x: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """relu(x key^T)^2 value^T: outputs [n,C] from x [n,C], key [hidden,C], value [C,hidden].

    Keeps one array of [n,hidden] for the backward pass, where plain autograd keeps three; under autocast all three
    products run in its dtype.
    """
    x, key, value = to_product_dtype(x, key, value)
    return _apply(x, key, value, None)


def grouped_squared_relu_network(
    x: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor], groups: RowGroups
) -> Tensor:
    """The same with a key and a value matrix for each of the groups; zero where a row belongs to none."""
    x, key, value = to_product_dtype(x, stacked(keys), stacked(values))
    return groups.keep(_apply(groups.keep(x), key, value, groups.ends))


def _apply(x: Tensor, key: Tensor, value: Tensor, ends: Tensor | None) -> Tensor:
    with without_autocast(x.device.type):
        output: Tensor = _SquaredReluNetwork.apply(x, key, value, ends)
    return output


class _SquaredReluNetwork(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, key: Tensor, value: Tensor, ends: Tensor | None) -> Tensor:
        rectified = product(x, key, ends).relu_()
        ctx.save_for_backward(x, rectified, key, value, ends)
        return product(rectified.square(), value, ends)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """With p = x key^T, r = relu(p), k = r^2: d value = dy^T k; d p = 2 r (dy value), zero where r is."""
        x, rectified, key, value, ends = ctx.saved_tensors
        for_x, for_key, for_value, _ = ctx.needs_input_grad
        grad = grad.contiguous()
        grad_value = product_over_rows(grad, rectified.square(), ends) if for_value else None
        if not (for_x or for_key):
            return None, None, grad_value, None
        # Half the gradient of p; the 2 is cheaper on x's side.
        half = product_with_weight(grad, value, ends).mul_(rectified)
        grad_key = product_over_rows(half, 2 * x, ends) if for_key else None
        grad_x = product_with_weight(half, key, ends).mul_(2) if for_x else None
        return grad_x, grad_key, grad_value, None
