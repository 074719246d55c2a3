"""Auxiliary losses that even out the experts' load and keep the gate's logits small. Pure functions.

Letters: S sequences or other groups of N tokens over which load is counted, E experts, K winners.
"""

from __future__ import annotations

import torch
from torch import Tensor


def assignments(experts: Tensor, n_expert: int, mask: Tensor, active: Tensor | None = None) -> Tensor:
    """How often each expert serves: winners [...,N,K], mask [...,N], active [...,N,K] -> [...,E] float32."""
    serves = mask.to(torch.float32)[..., None].expand(experts.shape)
    if active is not None:
        serves = serves * active
    counts = torch.zeros(*experts.shape[:-2], n_expert, device=experts.device, dtype=torch.float32)
    return counts.scatter_add_(-1, experts.flatten(-2), serves.flatten(-2))


def load_share(assigned: Tensor) -> Tensor:
    """f_e, share of the assignments [...,E] that go to each expert; it sums to 1."""
    return assigned / assigned.sum(-1, keepdim=True).clamp(min=1)


def balance_loss(gate_logits: Tensor, share: Tensor, mask: Tensor) -> Tensor:
    """E * sum_e f_e P_e, averaged over tokens: 1 at perfect balance, minimised by it.

    Source: Switch Transformers (Fedus et al. 2021) eq. 4-6, with f counted over all K winners and divided by K. The
    tokens over which f is counted may be more than these (arXiv 2501.11873) or fewer (DeepSeek-V3, arXiv 2412.19437).
    gate_logits [...,S,N,E], share f [...,S,E], mask [S,N] -> [...]. f is detached; the gradient flows through P.
    """
    probability = torch.softmax(gate_logits.float(), dim=-1) * mask[..., None]
    mean_probability = probability.sum(-2) / mask.sum().clamp(min=1)
    return gate_logits.shape[-1] * (share * mean_probability).sum(-1).sum(-1)


def z_loss(gate_logits: Tensor, mask: Tensor, kind: str) -> Tensor:
    """How large logits are, averaged over tokens: [...,S,N,E] and mask [S,N] -> [...].

    logsumexp: (log sum_e exp z_te)^2, ST-MoE (Zoph et al. 2022) eq. 5; mean_square: the mean of z_te^2 over experts,
    as CDRmix has it.
    """
    logits = gate_logits.float()
    size = torch.logsumexp(logits, -1).square() if kind == "logsumexp" else logits.square().mean(-1)
    return (size * mask).sum((-1, -2)) / mask.sum().clamp(min=1)
