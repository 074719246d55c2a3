"""Copy expert: the token skips the layer's computation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from torch import Tensor

from camoe.kernels.grouped_products import RowGroups
from camoe.model.experts.expert import Expert, ExpertContext


class Copy(Expert):
    """out = h, the normalised input of the layer. Source: MoE++ (Jin et al., 2024), eq. 4."""

    kind = "copy"

    def forward(self, h: Tensor, context: ExpertContext) -> Tensor:
        """The hidden vectors h [n,C] themselves."""
        return h

    @classmethod
    def forward_grouped(cls, experts: Sequence[Self], h: Tensor, context: ExpertContext, groups: RowGroups) -> Tensor:
        """The rows h [rows,C] of the groups."""
        return groups.keep(h)

    @property
    def flops_per_token(self) -> int:
        """None."""
        return 0
