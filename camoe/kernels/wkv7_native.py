"""WKV-7 in C++ for CPUs, float32: the algorithm is told in cuda/wkv7_cpu.cpp."""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import once_differentiable

from camoe.config import ConfigError
from camoe.kernels.native_build import NativeLibrary, load

SOURCE = Path(__file__).resolve().parents[2] / "cuda" / "wkv7_cpu.cpp"
HEAD_SIZES = (16, 32, 64, 128)


def native_library() -> NativeLibrary:
    """The compiled source, or the reason why there is none."""
    return load(SOURCE)


def wkv7_native(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs [B,T,H,N], state [B,H,N,N], float32 on the CPU; returns (y [B,T,H,N], sa [B,T,H,N], final state)."""
    tensors = (r, w, k, v, a, b, state)
    if r.shape[-1] not in HEAD_SIZES:
        raise ConfigError(f"kernel.wkv: native has no head size {r.shape[-1]} (allowed: 16, 32, 64, 128); use chunked")
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        outputs: tuple[Tensor, Tensor, Tensor] = _NativeWkv7.apply(*tensors)
        return outputs
    return _forward(tensors, None)


class _NativeWkv7(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        *inputs, state = (x.contiguous() for x in tensors)
        y, sa, final_state, saved = wkv7_with_states(inputs, state)
        ctx.save_for_backward(*inputs, sa, saved)
        return y, sa, final_state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, ...]:
        *inputs, sa, saved = ctx.saved_tensors
        return tuple(wkv7_gradients(inputs, sa, saved, grad_outputs))


def wkv7_with_states(inputs: Sequence[Tensor], state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y, sa, the final state, and the states that the backward pass starts from; all inputs contiguous."""
    n_batch, n_tokens, n_head, size = inputs[0].shape
    saved = state.new_empty(n_batch, n_head, -(-n_tokens // _functions().interval), size, size)
    return *_forward((*inputs, state), saved), saved


def wkv7_gradients(
    inputs: Sequence[Tensor], sa: Tensor, saved: Tensor, grad_outputs: Sequence[Tensor | None]
) -> list[Tensor]:
    """Gradients of r, w, k, v, a, b and of the initial state from those of y, sa and the final state (None: zero)."""
    n_batch, _, n_head, size = inputs[0].shape
    shapes = (inputs[0].shape, inputs[0].shape, (n_batch, n_head, size, size))
    given = [*inputs, sa, saved]
    given += [
        saved.new_zeros(shape) if grad is None else grad.reshape(shape).contiguous()
        for grad, shape in zip(grad_outputs, shapes, strict=True)
    ]
    gradients = [torch.empty_like(given[0]) for _ in range(6)] + [torch.empty_like(given[-1])]
    _call(_functions().backward, given[0].shape, [*given, *gradients])
    return gradients


def _forward(tensors: tuple[Tensor, ...], saved: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """`saved` [B,H,intervals,N,N] receives the states that the backward pass starts from."""
    given = [x.contiguous() for x in tensors]
    y, sa, final_state = torch.empty_like(given[0]), torch.empty_like(given[0]), torch.empty_like(given[6])
    _call(_functions().forward, y.shape, [*given, y, sa, final_state, saved])
    return y, sa, final_state


def _call(function: Callable[[bytes], int], shape: torch.Size, tensors: list[Tensor | None]) -> None:
    if isinstance(tensors[0], FakeTensor):
        return  # has a shape and no memory: there is nothing to compute
    pointers = [0 if x is None else x.data_ptr() for x in tensors]
    if function(struct.pack(f"5q{len(pointers)}P", *shape, torch.get_num_threads(), *pointers)):
        raise RuntimeError(f"wkv7_cpu.cpp refuses the shape {tuple(shape)}")


class _Functions:
    """The library's two functions, which take a packed struct, and the number of tokens between saved states."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.forward, self.backward = library.wkv7_forward, library.wkv7_backward
        self.forward.argtypes = self.backward.argtypes = [ctypes.c_char_p]
        library.wkv7_interval.restype = ctypes.c_int64
        self.interval = int(library.wkv7_interval())


@functools.cache
def _functions() -> _Functions:
    native = native_library()
    if native.library is None:
        raise ConfigError(f"kernel.wkv: native is not available here: {native.reason}; use auto or chunked")
    return _Functions(native.library)
