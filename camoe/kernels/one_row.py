"""When native code may compute a single row: generation's case."""

from __future__ import annotations

import torch
from torch import Tensor


def is_one_row(x: Tensor, weight: Tensor) -> bool:
    """One row x [...,C] and weights like `weight`: float32 on a CPU, outside autocast, nobody asking for gradients."""
    return (
        x.numel() == x.shape[-1]
        and not torch.is_grad_enabled()
        and x.dtype is weight.dtype is torch.float32
        and x.is_cpu
        and weight.is_cpu
        and not torch.is_autocast_enabled("cpu")
    )
