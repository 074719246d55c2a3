"""Correctness before speed: a row whose answers are wrong is not timed."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


class GateFailed(Exception):
    """What is wrong, in one line."""


def require(error: float, bound: float, what: str) -> str:
    """The passed check in words; GateFailed where the error is above the bound or no number."""
    if not error <= bound:
        raise GateFailed(f"{what}: {error:.1e}, allowed {bound:.1e}")
    return f"{what} {error:.1e} <= {bound:.0e}"


def relative_error(got: Tensor, exact: Tensor) -> float:
    """Largest difference, relative to the largest magnitude of the exact tensor."""
    exact = exact.detach().double()
    difference = float((got.detach().double() - exact).abs().max())
    return difference / max(float(exact.abs().max()), 1e-300)


def worst_error(got: Mapping[str, Tensor], exact: Mapping[str, Tensor]) -> tuple[float, str]:
    """The largest relative error over tensors of the same name, and whose it is; NaN counts as infinite."""
    errors = {name: relative_error(got[name], tensor) for name, tensor in exact.items()}
    finite = {name: error if error == error else float("inf") for name, error in errors.items()}
    worst = max(finite, key=lambda name: finite[name])
    return finite[worst], worst
