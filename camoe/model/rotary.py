"""Rotary positions: queries and keys turned by an angle that grows with the token's position."""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10_000.0


def rotated(x: Tensor, position: Tensor) -> Tensor:
    """x [B,H,T,N] (N even) of tokens at position [B,T], with every pair (x_i, x_{i+N/2}) turned.

    The angle of pair i at position t is t BASE^(-2i/N), so the product of two turned vectors depends on their distance
    alone (Su et al., "RoFormer", 2021, section 3.2.2). Angles are float32 or wider; the result has the dtype of x.
    """
    size, wide = x.shape[-1], torch.promote_types(x.dtype, torch.float32)
    rate = BASE ** (-torch.arange(0, size, 2, dtype=wide, device=x.device) / size)
    angle = position[:, None, :, None].to(wide) * rate
    cos, sin = angle.cos(), angle.sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)
