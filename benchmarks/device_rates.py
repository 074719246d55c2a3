"""What this machine achieves at products, passes through memory, WKV-7 and starting operations: job=plan reads it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.fma_peak import fma_probe
from benchmarks.gate import require
from benchmarks.result import Result
from benchmarks.sample import Contestant, Sample
from benchmarks.session import Session
from benchmarks.whole_step import TINY, our_step
from benchmarks.wkv7 import make_inputs, outputs_and_gradients
from benchmarks.workload import build_model, products_of_a_run
from camoe.kernels.matmul_precision import ACCURATE, matmul_precision, product_error
from camoe.kernels.wkv7 import choose_backend, wkv7
from camoe.profiling import device_kinds
from camoe.profiling.operation_counter import OperationCounter
from camoe.profiling.step_work import BACKWARD_SLOTS, FORWARD_SLOTS

ROW = device_kinds.ROW
ROWS, WIDTH = 2048, 512  # of the product: rows of a micro-batch, channels
NUMBERS = 2**22  # of a pass: more than caches hold
STATES = (8, 256, 4, 64)  # B, T, H, N


def measure(session: Session) -> Iterator[Result]:
    """One row; its value is the share of the multiply-add peak that float32 products reach."""
    with products_of_a_run(ROWS, WIDTH):
        error = product_error(torch.get_float32_matmul_precision(), "cpu")
    gate = require(error, ACCURATE, "float32 products against float64")
    figures = rates(session)
    value = None
    if "fp32 peak" in figures:
        value = figures["fp32"].over(figures["fp32 peak"], "share")
    yield Result(
        row=ROW,
        what=f"products {ROWS} x {WIDTH} x {WIDTH} over the peak; figures of this machine's CPU for job=plan",
        value=value or Sample((0.0,), "share"),
        figures=figures,
        gate=gate,
    )


def rates(session: Session) -> dict[str, Sample]:
    """Per second, by the names of DeviceKind; `memory` in bytes."""
    session.say("rates of this machine's CPU")
    width, numbers = session.pick(WIDTH, 32), session.pick(NUMBERS, 2**10)
    states = session.pick(STATES, (1, 17, 1, 64))
    step = our_step(build_model(TINY.config()), TINY)
    with OperationCounter() as counted:
        step()
    contestants: dict[str, Contestant] = {
        "fp32": _product(width, torch.float32),
        "fp32_highest": _product(width, torch.float32, "highest"),
        "bf16": _product(width, torch.bfloat16),
        "passes": partial(torch.sigmoid, torch.randn(numbers)),  # a function costs a CPU more than the memory does
        "recurrence": _recurrence(states),
        "operation": step,
    }
    flops, entries = 2 * ROWS * width**2, states[0] * states[1] * states[2] * states[3] ** 2
    amounts: dict[str, tuple[float, str]] = {
        "fp32": (flops, "FLOP/s"),
        "fp32_highest": (flops, "FLOP/s"),
        "bf16": (flops, "FLOP/s"),
        "passes": (2 * 4 * numbers, "bytes/s"),
        "recurrence": ((FORWARD_SLOTS + BACKWARD_SLOTS) * entries, "multiply-adds/s"),
        "operation": (counted.now.total(), "operations/s"),
    }
    if peak := _peak():
        contestants["fp32 peak"], amounts["fp32 peak"] = peak[0], (2 * peak[1], "FLOP/s")
    seconds = session.race(contestants)
    figures = {name: seconds[name].rate(*amount) for name, amount in amounts.items()}
    memory = Sample((float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),), "bytes")
    return {**figures, "memory": memory}


def _product(width: int, dtype: torch.dtype, precision: str | None = None) -> Contestant:
    """precision: of kernel.matmul_precision; None: what a run of this size chooses."""
    left, right = torch.randn(ROWS, width).to(dtype), torch.randn(width, width).to(dtype)

    def product() -> None:
        with matmul_precision(precision) if precision else products_of_a_run(ROWS, width):
            left @ right

    return product


def _recurrence(states: tuple[int, int, int, int]) -> Contestant:
    operation = partial(wkv7, backend=choose_backend("auto", "cpu").name)
    return partial(outputs_and_gradients, operation, make_inputs(states))


def _peak() -> tuple[Contestant, int] | None:
    """Multiply-adds of one thread and how many; None without a compiler, or with more threads."""
    if torch.get_num_threads() > 1:
        return None
    try:
        return fma_probe()
    except RuntimeError:
        return None
