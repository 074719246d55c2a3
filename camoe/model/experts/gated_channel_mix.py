"""Gated channel-mix expert: a squared-ReLU network whose output is gated by a receptance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from camoe.kernels.grouped_products import RowGroups
from camoe.kernels.linear import Linear
from camoe.kernels.squared_relu import grouped_squared_relu_network, squared_relu_network
from camoe.model import initialization as init
from camoe.model.experts.expert import Expert, ExpertContext


class GatedChannelMix(Expert):
    """out = sigmoid(h W_receptance) * (relu(h W_key)^2 W_value).

    The channel mixing of RWKV-4 to RWKV-6 without token shift: 2 C hidden + C^2 parameters. Source: Peng et al., "RWKV:
    Reinventing RNNs for the Transformer Era", 2023, eq. 17-18; expert of CDRmix's RWKV layers.
    """

    kind = "gated_channel_mix"

    def __init__(self, n_embd: int, hidden: int) -> None:
        super().__init__()
        self.key = Linear(n_embd, hidden, bias=False)
        self.value = Linear(hidden, n_embd, bias=False)
        self.receptance = Linear(n_embd, n_embd, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """As RWKV-LM: W_key uniform(+-0.5/sqrt C), W_value and W_receptance 0, so that every gate starts half open."""
        init.initialize_uniform(self.key.weight, 0.5 / math.sqrt(self.key.in_features))
        self.value.weight.zero_()
        self.receptance.weight.zero_()

    def forward(self, h: Tensor, context: ExpertContext) -> Tensor:
        """Outputs [n,C] of n tokens with hidden vectors h [n,C]."""
        mixed = squared_relu_network(h, self.key.weight, self.value.weight)
        return torch.sigmoid(self.receptance(h)) * mixed

    @classmethod
    def forward_grouped(cls, experts: Sequence[Self], h: Tensor, context: ExpertContext, groups: RowGroups) -> Tensor:
        """All experts' rows [rows,C] in one product per matrix."""
        keys, values = [expert.key.weight for expert in experts], [expert.value.weight for expert in experts]
        mixed = grouped_squared_relu_network(h, keys, values, groups)
        return torch.sigmoid(groups.linear(h, [expert.receptance.weight for expert in experts])) * mixed

    @property
    def flops_per_token(self) -> int:
        """Forward floating-point operations of the three matrices for one token."""
        return 2 * sum(layer.weight.numel() for layer in (self.key, self.value, self.receptance))
