"""Auxiliary losses that even out the experts' load."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.kernels.ranks import ALONE, Ranks


def load_share(experts: Tensor, n_expert: int, mask: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """f_e, share of assignments that go to each expert; [...,N,K] winners and mask [N] -> [...,E], sums to 1.

    Counted over the whole micro-batch, also where `ranks` share one.
    """
    assigned = torch.zeros(*experts.shape[:-2], n_expert, device=experts.device, dtype=torch.float32)
    weight = mask.to(torch.float32)[:, None].expand(experts.shape).reshape(*experts.shape[:-2], -1)
    assigned.scatter_add_(-1, experts.flatten(-2), weight)
    assigned = ranks.whole_micro_batch(assigned)
    return assigned / assigned.sum(-1, keepdim=True).clamp(min=1)


def switch_balance_loss(gate_logits: Tensor, experts: Tensor, mask: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """E * sum_e f_e P_e, 1 at perfect balance, minimised by it.

    Source: Switch Transformers (Fedus et al. 2021) eq. 4-6, with f counted over all K winners and divided by K.
    gate_logits [...,N,E], experts [...,N,K], mask [N] -> [...]. f is detached; the gradient flows through P.
    """
    share = load_share(experts, gate_logits.shape[-1], mask, ranks)
    probability = torch.softmax(gate_logits.float(), dim=-1) * mask[:, None]
    mean_probability = probability.sum(-2) / mask.sum().clamp(min=1)
    return gate_logits.shape[-1] * (share * mean_probability).sum(-1)
