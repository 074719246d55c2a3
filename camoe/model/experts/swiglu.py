"""SwiGLU expert: a feed-forward network whose hidden channels are gated by a SiLU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch.nn.functional as F
from torch import Tensor

from camoe.kernels.grouped_products import RowGroups
from camoe.kernels.linear import Linear
from camoe.model import initialization as init
from camoe.model.experts.expert import Expert, ExpertContext


class SwiGlu(Expert):
    """out = (silu(h W_gate) * (h W_up)) W_down.

    Source: Shazeer, "GLU Variants Improve Transformer", 2020, eq. 6; expert of the Complexity MoE, where all E share
    the width of one feed-forward network.
    """

    kind = "swiglu"

    def __init__(self, n_embd: int, hidden: int) -> None:
        super().__init__()
        self.gate = Linear(n_embd, hidden, bias=False)
        self.up = Linear(n_embd, hidden, bias=False)
        self.down = Linear(hidden, n_embd, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform(+-1/sqrt fan-in), each matrix by the fan-in of this expert alone, however many there are."""
        for layer in (self.gate, self.up, self.down):
            init.initialize_uniform(layer.weight, 1 / math.sqrt(layer.in_features))

    def forward(self, h: Tensor, context: ExpertContext) -> Tensor:
        """Outputs [n,C] of n tokens with hidden vectors h [n,C]."""
        return self.down(F.silu(self.gate(h)) * self.up(h))

    @classmethod
    def forward_grouped(cls, experts: Sequence[Self], h: Tensor, context: ExpertContext, groups: RowGroups) -> Tensor:
        """All experts' rows [rows,C] in one product per matrix."""
        gate = groups.linear(h, [expert.gate.weight for expert in experts])
        up = groups.linear(h, [expert.up.weight for expert in experts])
        return groups.linear(F.silu(gate) * up, [expert.down.weight for expert in experts])

    @property
    def flops_per_token(self) -> int:
        """Forward floating-point operations of the three matrices for one token."""
        return 2 * sum(layer.weight.numel() for layer in (self.gate, self.up, self.down))
