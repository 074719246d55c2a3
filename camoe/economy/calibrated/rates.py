"""Half-lives in tokens: what turns the size of a window into the size of a step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LN2 = math.log(2)


def rate(tokens: Tensor, half_life: float | Tensor) -> Tensor:
    """r_N(H) = 1 - 2^(-N/H), the share of something with half-life H that goes while N tokens are settled."""
    return -torch.expm1(-LN2 * tokens / half_life)


def kept(tokens: Tensor, half_life: float) -> Tensor:
    """2^(-N/H), the share that stays."""
    return torch.exp(-LN2 * tokens / half_life)


def quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator where the denominator is above 0, else 0; free of units, unlike an epsilon."""
    positive = denominator > 0
    return torch.where(positive, numerator / torch.where(positive, denominator, 1), 0)
