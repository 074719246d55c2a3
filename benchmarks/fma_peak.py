"""The machine's peak of float32 multiply-adds on one thread, measured by a small native probe."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch

from benchmarks.sample import Contestant
from camoe.kernels.native_build import load

SOURCE = Path(__file__).with_name("fma_peak.cpp")
ROUNDS = 1_000_000


def fma_probe() -> tuple[Contestant, int]:
    """A function that does nothing but multiply-adds on one thread, and how many. RuntimeError without a compiler."""
    native = load(SOURCE)
    if native.library is None:
        raise RuntimeError(f"the peak cannot be measured: {native.reason}")
    run, count = native.library.fma_run, native.library.fma_numbers
    run.restype = count.restype = ctypes.c_int64
    run.argtypes = [ctypes.c_int64, ctypes.c_void_p]
    numbers = torch.full((count(),), 0.5)
    return lambda: run(ROUNDS, numbers.data_ptr()), ROUNDS * count()
