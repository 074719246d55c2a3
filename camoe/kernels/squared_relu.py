"""The squared-ReLU network of RWKV's channel mixing as one differentiable operation."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import once_differentiable

from camoe.kernels.grouped_products import (
    RowGroups,
    product,
    product_over_rows,
    product_with_weight,
    stacked,
    to_product_dtype,
)
from camoe.kernels.native_build import native_function
from camoe.kernels.without_autocast import without_autocast

SOURCE = Path(__file__).resolve().parents[2] / "cuda" / "squared_relu_cpu.cpp"


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
        squared = squared_relu_(product(x, key, ends))
        ctx.save_for_backward(x, squared, key, value, ends)
        return product(squared, value, ends)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """With p = x key^T and k = relu(p)^2: d value = dy^T k; d p = 2 sqrt(k) (dy value), zero where k is."""
        x, squared, key, value, ends = ctx.saved_tensors
        for_x, for_key, for_value, _ = ctx.needs_input_grad
        grad = grad.contiguous()
        grad_value = product_over_rows(grad, squared, ends) if for_value else None
        if not (for_x or for_key):
            return None, None, grad_value, None
        grad_product = times_root_(product_with_weight(2 * grad, value, ends), squared)
        grad_key = product_over_rows(grad_product, x, ends) if for_key else None
        grad_x = product_with_weight(grad_product, key, ends) if for_x else None
        return grad_x, grad_key, grad_value, None


def squared_relu_(x: Tensor) -> Tensor:
    """relu(x)^2 in place of x; in one pass of native code, for which torch's two are the reference."""
    if not _native("squared_relu", x):
        x.relu_().square_()
    return x


def times_root_(grad: Tensor, squared: Tensor) -> Tensor:
    """grad sqrt(squared) in place of grad, both of one shape."""
    if not _native("squared_relu_backward", squared, grad):
        grad.mul_(squared.sqrt())
    return grad


def _native(name: str, *tensors: Tensor) -> bool:
    """Whether native code has done it: on contiguous float32 tensors of the CPU."""
    fits = all(x.dtype is torch.float32 and x.is_cpu and x.is_contiguous() for x in tensors)
    function = native_function(SOURCE, name) if fits else None
    if function is None or isinstance(tensors[0], FakeTensor):
        return False
    places = [x.data_ptr() for x in tensors]
    function(struct.pack(f"2q{len(places)}P", tensors[0].numel(), torch.get_num_threads(), *places))
    return True
