"""How float32 matrix products are computed: torch's switch, and a choice that never gives up float32's accuracy.

`medium` lets torch hand products to oneDNN in "bfloat16" mode. Only CPUs with AMX then compute in bfloat16; elsewhere
oneDNN stays in float32 and, on AMD, outruns the library that torch uses otherwise. One-row products lose by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from camoe.config import RunConfig

PRECISIONS = ("highest", "high", "medium")
ACCURATE = 1e-6  # relative error of a product that float32 explains
# Measured on AMD Zen 4, whole training steps: equal at 2^24 multiply-adds per product, 1.06x at 2^27, 1.18x at 2^28.
# Zen 5 gains from 2^22 on (1.3x), 1.7x at 2^27; with one rule for both, small runs have the same numbers on them.
WORTHWHILE = 2**26
# [rows,inner] x [inner,columns], odd on purpose: blocked code treats edges apart.
PROBES = ((257, 131, 129), (33, 1023, 65), (129, 77, 515))


@dataclass(frozen=True)
class PrecisionChoice:
    """A name of PRECISIONS and, in words for the log, why."""

    name: str
    reason: str


@dataclass(frozen=True)
class ProductSize:
    """The product that a job computes most: rows (tokens of a forward pass) times a [width,width] matrix."""

    rows: int
    width: int

    @classmethod
    def of_run(cls, run: RunConfig, *, one_token: bool = False) -> ProductSize:
        """Of a job that reads whole micro-batches, or that generates token by token."""
        return cls(1 if one_token else run.train.micro_batch * run.train.ctx_len, run.model.n_embd)

    @property
    def multiply_adds(self) -> int:
        """Of one product."""
        return self.rows * self.width**2


def choose_matmul_precision(requested: str, device_type: str, size: ProductSize) -> PrecisionChoice:
    """Resolves `kernel.matmul_precision`.

    `auto` is a rule of device, CPU vendor and size, not a race: timing must not decide a run's numbers. A numerical
    self-test guards it.
    """
    if requested != "auto":
        error = product_error(requested, device_type)
        return PrecisionChoice(requested, f"as set, or as the run began; {_in_words(error)}")
    if device_type != "cpu":
        return PrecisionChoice("highest", f"auto: on {device_type} less would round to TF32")
    if cpu_vendor() != "AuthenticAMD":
        return PrecisionChoice("highest", "auto: oneDNN is the faster one on AMD CPUs only")
    if size.multiply_adds < WORTHWHILE:
        return PrecisionChoice("highest", f"auto: {size.rows} x {size.width} is too small to gain from oneDNN")
    error = product_error("medium", device_type)
    if error > ACCURATE:
        return PrecisionChoice("highest", f"auto: medium fails the self-test; {_in_words(error)}")
    return PrecisionChoice("medium", f"auto: oneDNN is faster on AMD; {_in_words(error)}")


def product_error(precision: str, device_type: str) -> float:
    """Largest relative error (Frobenius norm, against float64) of some products and their transposed forms."""
    generator = torch.Generator().manual_seed(0)
    errors = []
    with matmul_precision(precision):
        for rows, inner, columns in PROBES:
            left = torch.randn(rows, inner, generator=generator)
            right = torch.randn(columns, inner, generator=generator)
            for a, b in ((left, right.T), (right, left.T)):
                exact = a.double() @ b.double()
                product = (a.to(device_type) @ b.to(device_type)).cpu().double()
                errors.append(float((product - exact).norm() / exact.norm()))
    return max(errors)


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Inside, float32 products are computed so."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def cpu_vendor() -> str:
    """The CPU's vendor as it names itself; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")


def _in_words(error: float) -> str:
    return f"error {error:.0e} against float64"
