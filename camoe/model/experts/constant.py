"""Constant expert: the token's vector is blended with a learned one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from camoe.kernels.grouped_products import RowGroups
from camoe.model import initialization as init
from camoe.model.experts.expert import Expert, ExpertContext


class Constant(Expert):
    """out = a_1 h + a_2 v with [a_1, a_2] = softmax(W_c h). Source: MoE++ (Jin et al., 2024), eq. 5.

    v [C] starts standard normal as in its published layer, W_c [2,C] uniform(+-1/sqrt C).
    """

    kind = "constant"

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        self.blend = nn.Linear(n_embd, 2, bias=False)
        self.vector = nn.Parameter(torch.empty(n_embd))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw both."""
        init.initialize_uniform(self.blend.weight, 1 / math.sqrt(self.blend.in_features))
        init.initialize_normal(self.vector, 1.0)

    def forward(self, h: Tensor, context: ExpertContext) -> Tensor:
        """Outputs [n,C] of n tokens with hidden vectors h [n,C]."""
        return _blended(h, self.blend(h), self.vector)

    @classmethod
    def forward_grouped(cls, experts: Sequence[Self], h: Tensor, context: ExpertContext, groups: RowGroups) -> Tensor:
        """All experts' rows [rows,C]; a row meets the two rows of its own W_c only."""
        blends = groups.spread([expert.blend.weight.flatten() for expert in experts]).unflatten(1, (2, -1))
        vectors = groups.spread([expert.vector for expert in experts])
        scores = torch.einsum("nc,nkc->nk", h, blends.to(h.dtype))
        return groups.keep(_blended(h, scores, vectors))

    @property
    def flops_per_token(self) -> int:
        """Forward floating-point operations of W_c for one token."""
        return 2 * self.blend.weight.numel()


def _blended(h: Tensor, scores: Tensor, vector: Tensor) -> Tensor:
    """a_1 h + a_2 v, [n,C] from h [n,C], scores [n,2] and v [C] or [n,C]."""
    shares = scores.softmax(-1).to(h.dtype)
    return shares[:, :1] * h + shares[:, 1:] * vector.to(h.dtype)
