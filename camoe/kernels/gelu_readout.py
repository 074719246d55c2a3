"""GELU and a weighted sum over its channels, which keeps only what went into the GELU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def gelu_readout(x: Tensor, weight: Tensor) -> Tensor:
    """sum_j GELU(x_j) w_j: x [...,E,hidden] and weight [E,hidden] -> [...,E].

    The backward pass computes the GELU again instead of keeping it.
    """
    out: Tensor = _GeluReadout.apply(x, weight)
    return out


class _GeluReadout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return (F.gelu(x) * weight).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        grad = grad.unsqueeze(-1)
        grad_x = torch.ops.aten.gelu_backward(grad * weight, x)
        grad_weight = (grad * F.gelu(x)).flatten(end_dim=-3).sum(0)
        return grad_x, grad_weight
