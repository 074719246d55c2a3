"""GELU expert: the feed-forward network of a Transformer block."""

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


class GeluFeedForward(Expert):
    """out = gelu(h W_up) W_down, without biases and with the exact GELU x Phi(x).

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016; expert of CDRmix's attention layers.
    """

    kind = "gelu_ffn"

    def __init__(self, n_embd: int, hidden: int) -> None:
        super().__init__()
        self.up = Linear(n_embd, hidden, bias=False)
        self.down = Linear(hidden, n_embd, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform(+-1/sqrt fan-in)."""
        for layer in (self.up, self.down):
            init.initialize_uniform(layer.weight, 1 / math.sqrt(layer.in_features))

    def forward(self, h: Tensor, context: ExpertContext) -> Tensor:
        """Outputs [n,C] of n tokens with hidden vectors h [n,C]."""
        return self.down(F.gelu(self.up(h)))

    @classmethod
    def forward_grouped(cls, experts: Sequence[Self], h: Tensor, context: ExpertContext, groups: RowGroups) -> Tensor:
        """All experts' rows [rows,C] in one product per matrix."""
        hidden = F.gelu(groups.linear(h, [expert.up.weight for expert in experts]))
        return groups.linear(hidden, [expert.down.weight for expert in experts])

    @property
    def flops_per_token(self) -> int:
        """Forward floating-point operations of the two matrices for one token."""
        return 2 * (self.up.weight.numel() + self.down.weight.numel())
