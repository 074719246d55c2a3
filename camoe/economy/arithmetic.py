"""Small formulas that several laws of the market share."""

from __future__ import annotations

from torch import Tensor

EPSILON = 1e-6
"""Added to denominators by the published arithmetic; the recorded vectors resolve it."""


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / (denominator + 1e-6), for denominators that are not negative."""
    return numerator / (denominator + EPSILON)


def moving_average(old: Tensor, new: Tensor, momentum: float) -> Tensor:
    """momentum * old + (1 - momentum) * new."""
    return momentum * old + (1 - momentum) * new
