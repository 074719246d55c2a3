"""The machine's peak of float32 multiply-adds on one thread, measured by a small native probe."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

import torch

from camoe.kernels.native_build import load

SOURCE = Path(__file__).with_name("fma_peak.cpp")
ROUNDS = 1_000_000


def fma_probe() -> Callable[[], float]:
    """A function that measures multiply-adds per second of one thread. RuntimeError without a C++ compiler."""
    native = load(SOURCE)
    if native.library is None:
        raise RuntimeError(f"the peak cannot be measured: {native.reason}")
    run, count = native.library.fma_run, native.library.fma_numbers
    run.restype = count.restype = ctypes.c_int64
    run.argtypes = [ctypes.c_int64, ctypes.c_void_p]
    numbers = torch.full((count(),), 0.5)

    def probe() -> float:
        begin = time.perf_counter()
        done = run(ROUNDS, numbers.data_ptr())
        return done / (time.perf_counter() - begin)

    probe()
    return probe
