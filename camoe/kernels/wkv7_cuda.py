"""WKV-7 in CUDA, bf16 or float32 inputs and float32 state: the algorithm is told in cuda/wkv7_cuda.cu."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from camoe.config import ConfigError
from camoe.kernels.cuda_build import load
from camoe.kernels.native_build import NativeLibrary

SOURCE = Path(__file__).resolve().parents[2] / "cuda" / "wkv7_cuda.cu"
HEAD_SIZES = (16, 32, 64, 128)
OLDEST_CAPABILITY = (8, 0)  # the first with asynchronous copies to shared memory


def cuda_library(fast_math: bool, device: torch.device | None = None) -> NativeLibrary:
    """The source compiled for a CUDA device (None: the current one), or the reason why there is none."""
    if not torch.cuda.is_available():
        return NativeLibrary(None, "torch finds no CUDA device")
    capability = torch.cuda.get_device_capability(device)
    if capability < OLDEST_CAPABILITY:
        return NativeLibrary(
            None, "the device's compute capability is {}.{}, at least 8.0 is needed".format(*capability)
        )
    return load(SOURCE, capability, fast_math)


def wkv7_cuda(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor, *, fast_math: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs [B,T,H,N], state [B,H,N,N] float32, on one CUDA device; returns y and sa [B,T,H,N], and the final state.

    bf16 is read and written only if r, k, v, a and b all are; otherwise they are float32, as w is always: near 1, bf16
    would lose all long memories. y and sa have the type that was read.
    """
    if r.shape[-1] not in HEAD_SIZES:
        raise ConfigError(f"kernel.wkv: cuda has no head size {r.shape[-1]} (allowed: 16, 32, 64, 128); use chunked")
    narrow = all(x.dtype == torch.bfloat16 for x in (r, k, v, a, b))
    dtype = torch.bfloat16 if narrow else torch.float32
    tensors = (r.to(dtype), w.float(), *(x.to(dtype) for x in (k, v, a, b)), state)
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        outputs: tuple[Tensor, Tensor, Tensor] = _CudaWkv7.apply(fast_math, *tensors)
        return outputs
    return _forward(fast_math, tensors, None, None)


class _CudaWkv7(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fast_math: bool, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n_batch, n_tokens, n_head, size = tensors[0].shape
        intervals = n_tokens // _functions(fast_math, tensors[0].device).interval + 1
        saved = tensors[-1].new_empty(n_batch, n_head, intervals, size, size)
        exact_sa = None if tensors[0].dtype == torch.float32 else saved.new_empty(tensors[0].shape)
        y, sa, final_state = _forward(fast_math, tensors, saved, exact_sa)
        ctx.fast_math = fast_math
        ctx.save_for_backward(*tensors[:6], sa if exact_sa is None else exact_sa, saved)
        return y, sa, final_state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        given = [_ready(x) for x in (*ctx.saved_tensors, *grad_outputs)]
        r, dstate = given[0], torch.empty_like(given[-1])
        functions = _functions(ctx.fast_math, r.device)
        dw, dv = torch.empty_like(given[1]), torch.empty_like(r)
        da, dr, dk, db = others = r.new_empty(4, *r.shape)
        with _on_device(r) as stream:
            split = functions.split(True, r)
            partial = dw.new_empty(split, 5, *r.shape) if split > 1 else None
            functions.call("backward", r, split, stream, [*given, dw, others, dv, dstate, partial])
        return None, dr, dw, dk, dv, da, db, dstate


def _forward(
    fast_math: bool, tensors: tuple[Tensor, ...], saved: Tensor | None, exact_sa: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`saved` [B,H,intervals,N,N] receives the states that the backward pass starts from, `exact_sa` float32 sa."""
    functions = _functions(fast_math, tensors[0].device)
    given = [_ready(x) for x in tensors]
    y, sa, final_state = torch.empty_like(given[0]), torch.empty_like(given[0]), torch.empty_like(given[6])
    with _on_device(y) as stream:
        split = functions.split(False, y)
        functions.call("forward", y, split, stream, [*given, y, sa, final_state, saved, exact_sa])
    return y, sa, final_state


def _ready(x: Tensor) -> Tensor:
    """Contiguous, and beginning at a multiple of 16 bytes as the kernels' copies do."""
    x = x.contiguous()
    return x.clone() if x.data_ptr() % 16 else x


@contextmanager
def _on_device(x: Tensor) -> Iterator[int]:
    """Makes the tensor's device the current one; gives the stream to launch on."""
    with torch.cuda.device(x.device):
        yield torch.cuda.current_stream().cuda_stream


class _Functions:
    """The library's functions and the number of tokens between saved states."""

    def __init__(self, library: ctypes.CDLL) -> None:
        integer, number, pointer = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
        shape = [number] * 4 + [integer] * 2 + [pointer]
        self._calls = {"forward": library.wkv7_cuda_forward, "backward": library.wkv7_cuda_backward}
        self._calls["forward"].argtypes = shape + [pointer] * 12
        self._calls["backward"].argtypes = shape + [pointer] * 16
        for function in self._calls.values():
            function.restype = ctypes.c_char_p
        self._split = library.wkv7_cuda_split
        self._split.argtypes = [integer, number, number, integer]
        library.wkv7_cuda_interval.restype = number
        self.interval = int(library.wkv7_cuda_interval())

    def split(self, backward: bool, x: Tensor) -> int:
        """Over how many blocks the rows of a head's state are spread, for inputs like x [B,T,H,N]."""
        n_batch, _, n_head, size = x.shape
        split = int(self._split(backward, n_batch * n_head, size, x.dtype == torch.bfloat16))
        if not split:
            raise ConfigError(
                f"kernel.wkv: cuda has too little shared memory on this GPU for head size {size} in "
                f"{'bf16' if x.dtype == torch.bfloat16 else 'float32'}; use chunked"
            )
        return split

    def call(self, name: str, x: Tensor, split: int, stream: int, tensors: list[Tensor | None]) -> None:
        """Launches on tensors like x [B,T,H,N]."""
        pointers = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
        problem = self._calls[name](*x.shape, x.dtype == torch.bfloat16, split, stream, *pointers)
        if problem:
            raise RuntimeError(f"wkv7_cuda.cu: {name} of {tuple(x.shape)} in {split} blocks: {problem.decode()}")


@functools.cache
def _functions(fast_math: bool, device: torch.device) -> _Functions:
    compiled = cuda_library(fast_math, device)
    if compiled.library is None:
        raise ConfigError(f"kernel.wkv: cuda is not available here: {compiled.reason}; use auto or chunked")
    return _Functions(compiled.library)
