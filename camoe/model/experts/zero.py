"""Zero expert: a token's way of asking for less computation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from camoe.kernels.grouped_products import RowGroups
from camoe.model.experts.expert import Expert, ExpertContext


class Zero(Expert):
    """out = 0, and the other winners of the token share its weight (`weights_without_zero_experts`).

    Source: Jin et al., "MoE++: Accelerating Mixture-of-Experts Methods with Zero-Computation Experts", 2024, eq. 3, and
    the gating of its published layer.
    """

    kind = "zero"

    def forward(self, h: Tensor, context: ExpertContext) -> Tensor:
        """Zeros [n,C]."""
        return torch.zeros_like(h)

    @classmethod
    def forward_grouped(cls, experts: Sequence[Self], h: Tensor, context: ExpertContext, groups: RowGroups) -> Tensor:
        """Zeros [rows,C]."""
        return torch.zeros_like(h)

    @property
    def flops_per_token(self) -> int:
        """None."""
        return 0


def weights_without_zero_experts(weights: Tensor, is_zero: Tensor) -> Tensor:
    """Mixture weights [...,K] that are 0 where `is_zero` [...,K], the others scaled up so that the sum stays.

    Where zero experts have won alone, all are 0. With weights that sum to 1 this is MoE++'s rule; without a sum of 1
    (a single winner weighed by its probability) dividing by the rest would leave the router no gradient.
    """
    kept = torch.where(is_zero, 0, weights)
    rest = kept.sum(-1, keepdim=True)
    return kept * (weights.sum(-1, keepdim=True) / torch.where(rest == 0, 1, rest))
