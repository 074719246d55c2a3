"""WKV-7 as a plain loop over time: the readable definition that every other backend must agree with."""

from __future__ import annotations

import torch
from torch import Tensor


def wkv7_step(
    state: Tensor, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One token of the RWKV-7 recurrence (Peng et al., "RWKV-7 Goose", 2025).

    state [B,H,N,N] has one row per value channel and one column per key channel; the inputs are [B,H,N].

        sa = S a;   S <- S diag(w) + sa b^T + v k^T;   y = S r

    Returns (y [B,H,N], sa [B,H,N], next state). `w` is the decay factor itself.
    """
    sa = torch.matmul(state, a.unsqueeze(-1))
    state = state * w.unsqueeze(-2) + sa * b.unsqueeze(-2) + v.unsqueeze(-1) * k.unsqueeze(-2)
    y = torch.matmul(state, r.unsqueeze(-1))
    return y.squeeze(-1), sa.squeeze(-1), state


def wkv7_reference(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs [B,T,H,N], state [B,H,N,N], one dtype; returns (y [B,T,H,N], sa [B,T,H,N], final state)."""
    outputs, readouts = [], []
    for token in zip(*(x.unbind(1) for x in (r, w, k, v, a, b)), strict=True):
        y, sa, state = wkv7_step(state, *token)
        outputs.append(y)
        readouts.append(sa)
    return torch.stack(outputs, 1), torch.stack(readouts, 1), state
