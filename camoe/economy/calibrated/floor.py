"""(11) The floor of wealth: nobody falls below it, and those above pay."""

from __future__ import annotations

import torch
from torch import Tensor


def water_filled(capital: Tensor, share: float) -> Tensor:
    """The capital [L,E] of the same sum with C_e = max(floor, s C_e), floor = share times the mean, s <= 1.

    With m experts at the floor s follows from the sum; the right m is the smallest that puts nobody else below.
    """
    total, n_expert = capital.sum(-1, keepdim=True), capital.shape[-1]
    floor = share * total / n_expert
    ascending = capital.sort(dim=-1).values
    lifted = torch.arange(n_expert, dtype=capital.dtype, device=capital.device)  # m = 0 .. E-1
    others = total - ascending.cumsum(-1) + ascending  # what those from rank m on own
    scale = (total - lifted * floor) / others
    enough = scale * ascending >= floor * (1 - 1e-12)
    first = (~enough).cumprod(-1).sum(-1, keepdim=True).clamp(max=n_expert - 1)
    return torch.maximum(floor, scale.gather(-1, first) * capital)
