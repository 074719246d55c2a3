"""In which floating-point type a model computes: float32, or bfloat16 where that is safe.

Under `bf16` torch's autocast computes matrix products in bfloat16. Parameters, their gradients and the residual stream
stay float32, and so do, by leaving autocast or by never rounding: gate, election and mixture weights, critic, market,
the WKV state and its decay, the statistics of every norm, the prefix attention's variance, and the loss.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


class ComputesIn(Protocol):
    """A model with a precision, `fp32` or `bf16`, and a device."""

    precision: str

    @property
    def device(self) -> torch.device: ...


M = TypeVar("M", bound=ComputesIn)


def autocast(precision: str, device_type: str) -> AbstractContextManager[Any]:
    """Autocast to bfloat16 for `bf16`; for `fp32` none, even inside another."""
    return torch.autocast(device_type, dtype=torch.bfloat16, enabled=precision == "bf16")


def in_its_precision(method: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], R]:
    """Lets a model's method compute in the model's precision, whatever surrounds the call.

    Every outermost call has an autocast region of its own: the copies of weights that autocast keeps do not outlive it,
    so an optimiser step in between is always seen.
    """

    @functools.wraps(method)
    def computing(self: M, *args: P.args, **kwargs: P.kwargs) -> R:
        with autocast(self.precision, self.device.type):
            return method(self, *args, **kwargs)

    return computing


@contextmanager
def computing_in(precision: str, model: ComputesIn) -> Iterator[None]:
    """Inside, the model computes in another precision."""
    before, model.precision = model.precision, precision
    try:
        yield
    finally:
        model.precision = before
