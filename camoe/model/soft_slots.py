"""Running experts on slots, which are mixtures of a sequence's tokens (Soft MoE)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from camoe.kernels.without_autocast import without_autocast
from camoe.routing.routers.soft_moe import SoftDecision

RunExperts = Callable[[Tensor, Tensor, Tensor | None, Tensor, Tensor], Tensor]
"""From hidden vectors, those before and readouts [n,C], winners [n,1] and their weights [n,1] to outputs [n,C]."""


def mix_by_slots(
    decision: SoftDecision, h: Tensor, previous: Tensor, readout: Tensor | None, n_expert: int, run: RunExperts
) -> Tensor:
    """y_t = sum_s C_ts expert_s(sum_u D_us h_u), [B,T,C]; what else an expert reads of a token is mixed as h is."""
    slots = decision.dispatch.shape[-1]
    shares = decision.dispatch.transpose(1, 2)
    slot_h, slot_previous = _mixed(shares, h).flatten(0, 1), _mixed(shares, previous).flatten(0, 1)
    slot_readout = None if readout is None else _mixed(shares, readout).flatten(0, 1)
    owners = torch.arange(slots, device=h.device) // (slots // n_expert)
    winners = owners.repeat(len(h))[:, None]
    ones = torch.ones_like(winners, dtype=decision.combine.dtype)
    outputs = run(slot_h, slot_previous, slot_readout, winners, ones)
    return _mixed(decision.combine, outputs.unflatten(0, (len(h), slots)))


def _mixed(weights: Tensor, vectors: Tensor) -> Tensor:
    """[B,n,m] weights of vectors [B,m,C], in the weights' type."""
    with without_autocast(weights.device.type):
        return (weights @ vectors.to(weights.dtype)).to(vectors.dtype)
