"""Saving memory by computing a stage of the model again in the backward pass instead of keeping its inner values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

R = TypeVar("R")


def run_stage(function: Callable[..., R], *inputs: Any, again: bool) -> R:
    """`function(*inputs)`; where `again`, only the inputs are kept and the backward pass computes the rest anew.

    Nothing in a model draws random numbers (router noise is an input), so no generator needs to be rewound.
    """
    if not (again and torch.is_grad_enabled()):
        return function(*inputs)
    result: R = checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    return result
