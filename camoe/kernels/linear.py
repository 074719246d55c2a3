"""Linear layers: torch's product, and for a single float32 row on a CPU code that keeps up with the memory."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camoe.kernels.native_build import native_function
from camoe.kernels.one_row import is_one_row

SOURCE = Path(__file__).resolve().parents[2] / "cuda" / "row_linear_cpu.cpp"
WORTHWHILE = 2**16  # entries of the matrix; a smaller one costs less than the call


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weight^T + bias, [...,out] from x [...,in], weight [out,in], bias [out] or None.

    Generation computes one row at a time and waits for the weights: there the native code takes a half to a third of
    the time of `F.linear`, which serves everything else and is the reference. The algorithm is told in
    cuda/row_cpu.h; without a C++ compiler `F.linear` serves alone.
    """
    if _is_worthwhile(x, weight) and (native := _native()) is not None:
        return _row_linear(native, x, weight, bias)
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """torch's Linear, computed by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """[...,out_features] from x [...,in_features]."""
        return linear(x, self.weight, self.bias)


def _is_worthwhile(x: Tensor, weight: Tensor) -> bool:
    """One row [...,in] and a matrix that native code can read and is worth it."""
    return (
        x.numel() == weight.shape[-1]
        and weight.numel() >= WORTHWHILE
        and weight.is_contiguous()
        and is_one_row(x, weight)
    )


def _row_linear(native: Callable[[bytes], None], x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    x, out = x.contiguous(), torch.empty((*x.shape[:-1], weight.shape[0]))
    pointers = (weight.data_ptr(), x.data_ptr(), 0 if bias is None else bias.contiguous().data_ptr(), out.data_ptr())
    native(struct.pack("3q4P", *weight.shape, torch.get_num_threads(), *pointers))
    return out


def _native() -> Callable[[bytes], None] | None:
    """The compiled function, or None where it cannot be compiled."""
    return native_function(SOURCE, "row_linear")
