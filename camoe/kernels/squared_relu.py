"""The squared-ReLU network of RWKV's channel mixing as one differentiable operation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from camoe.kernels.linear import linear
from camoe.kernels.without_autocast import without_autocast


def squared_relu_network(x: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """relu(x key^T)^2 value^T: outputs [n,C] from x [n,C], key [hidden,C], value [C,hidden].

    Keeps one array of [n,hidden] for the backward pass, where plain autograd keeps three; under autocast all three
    products run in its dtype.
    """
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, key, value = x.to(dtype), key.to(dtype), value.to(dtype)
    with without_autocast(x.device.type):
        output: Tensor = _SquaredReluNetwork.apply(x, key, value)
    return output


class _SquaredReluNetwork(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, key: Tensor, value: Tensor) -> Tensor:
        rectified = linear(x, key).relu_()
        ctx.save_for_backward(x, rectified, key, value)
        return linear(rectified.square(), value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """With p = x key^T, r = relu(p), k = r^2: d value = dy^T k; d p = 2 r (dy value), zero where r is."""
        x, rectified, key, value = ctx.saved_tensors
        for_x, for_key, for_value = ctx.needs_input_grad
        hidden = rectified.square()
        grad_value = grad.T @ hidden if for_value else None
        if not (for_x or for_key):
            return None, None, grad_value
        # The squares are spent: their memory takes the gradient of p, half of it; the 2 is cheaper on x's side.
        half = torch.mm(grad, value, out=hidden).mul_(rectified)
        grad_key = half.T @ (2 * x) if for_key else None
        grad_x = (half @ key).mul_(2) if for_x else None
        return grad_x, grad_key, grad_value
