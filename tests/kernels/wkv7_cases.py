"""Inputs of the WKV-7 recurrence as a layer makes them, and the unkind ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from camoe.kernels.wkv7 import CPU_BACKENDS
from camoe.kernels.wkv7_native import native_library

needs_native = pytest.mark.skipif(native_library().library is None, reason=native_library().reason)
EVERY_BACKEND = [pytest.param(name, marks=needs_native if name == "native" else ()) for name in CPU_BACKENDS]

Operation = Callable[..., tuple[Tensor, Tensor, Tensor]]

SMALLEST_DECAY = math.exp(-math.exp(-0.5))


def make_inputs(
    n_tokens: int, head_size: int, *, kind: str = "usual", seed: int = 0, n_batch: int = 2, n_head: int = 2
) -> list[Tensor]:
    """r, w, k, v, a, b [B,T,H,N] and a state [B,H,N,N], float32. a = -kk and b = kk * rate with kk a unit vector.

    kind `repeated`: every token has the same key and a rate near 1, so updates undo one another; `forgetting`: the
    smallest decay there is, everywhere.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (n_batch, n_tokens, n_head, head_size)
    r, k, v, z = (torch.randn(shape, generator=generator) for _ in range(4))
    rate = torch.rand(shape, generator=generator)
    if kind == "repeated":
        k, rate = k[:, :1].expand(shape).clone(), torch.full(shape, 0.99)
    kk = torch.nn.functional.normalize(k, dim=-1)
    w = torch.exp(-math.exp(-0.5) * torch.sigmoid(3 * z))
    if kind == "forgetting":
        w = torch.full(shape, SMALLEST_DECAY)
    state = torch.randn(n_batch, n_head, head_size, head_size, generator=generator)
    return [0.5 * r, w, 0.5 * k, 0.5 * v, -kk, kk * rate, 0.3 * state]


def outputs_and_gradients(operation: Operation, inputs: list[Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """y, sa, final state and the gradients of every input of a loss that uses all three."""
    leaves = [tensor.to(dtype).requires_grad_() for tensor in inputs]
    outputs = operation(*leaves)
    generator = torch.Generator().manual_seed(99)
    weights = [torch.randn(output.shape, generator=generator, dtype=torch.float64).to(dtype) for output in outputs]
    loss = torch.stack([(output * weight).sum() for output, weight in zip(outputs, weights, strict=True)]).sum()
    gradients = torch.autograd.grad(loss, leaves)
    names = ["y", "sa", "final", "g_r", "g_w", "g_k", "g_v", "g_a", "g_b", "g_state"]
    return dict(zip(names, (*outputs, *gradients), strict=False))


def largest_error(got: dict[str, Tensor], reference: dict[str, Tensor]) -> tuple[float, str]:
    """The worst error relative to the largest magnitude of the same tensor, and whose it is."""
    errors = {
        name: float((got[name].detach().double() - exact).abs().max() / exact.abs().max())
        for name, exact in ((name, tensor.detach()) for name, tensor in reference.items())
    }
    worst = max(errors, key=lambda name: errors[name] if errors[name] == errors[name] else math.inf)
    return errors[worst], worst
