"""RWKV expert: RWKV-7's channel mixing, a squared-ReLU network with token shift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from camoe.kernels import one_token
from camoe.kernels.grouped_products import RowGroups
from camoe.kernels.squared_relu import grouped_squared_relu_network, squared_relu_network
from camoe.model import initialization as init
from camoe.model.experts.expert import Expert, ExpertContext


class RwkvFeedForward(Expert):
    """k = relu((h + (h_{t-1} - h_t) x_k) W_key)^2; out = k W_value.

    h_{t-1} is the token before in the sequence, whoever serves it. `token_shift=False` gives the variant of the
    published CaMoE, k = relu(h W_key)^2, which has no x_k. Parameter names are those of official checkpoints (ffn.*).
    """

    kind = "rwkv_ffn"

    def __init__(self, n_embd: int, hidden: int, *, layer_id: int, n_layer: int, token_shift: bool = True) -> None:
        super().__init__()
        self.layer_id, self.n_layer = layer_id, n_layer
        self.x_k = nn.Parameter(torch.empty(1, 1, n_embd)) if token_shift else None
        self.key = nn.Linear(n_embd, hidden, bias=False)
        self.value = nn.Linear(hidden, n_embd, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """W_key: uniform(+-0.5/sqrt C) as RWKV-LM's channel mix; without token shift orthogonal, gain 2. W_value: 0."""
        n_embd = self.key.in_features
        if self.x_k is None:
            init.initialize_orthogonal(self.key.weight, 2.0)
        else:
            self.x_k.copy_(init.token_shift_ratio(n_embd, init.shrinking_ratio(self.layer_id, self.n_layer) ** 4))
            init.initialize_uniform(self.key.weight, 0.5 / math.sqrt(n_embd))
        self.value.weight.zero_()

    def forward(self, h: Tensor, context: ExpertContext) -> Tensor:
        """Outputs [n,C] of n tokens with hidden vectors h [n,C]."""
        previous, ratio = context.previous, self.token_shift
        if one_token.serves(h, self.key.weight):
            shift = None if previous is None else ratio
            return one_token.feed_forward_token(h, previous, shift, self.key.weight, self.value.weight)
        if previous is not None and ratio is not None:
            h = torch.lerp(h, previous.to(h.dtype), ratio.to(h.dtype))
        return squared_relu_network(h, self.key.weight, self.value.weight)

    @property
    def token_shift(self) -> Tensor | None:
        """x_k as [C]."""
        return None if self.x_k is None else self.x_k.flatten()

    @classmethod
    def forward_grouped(cls, experts: Sequence[Self], h: Tensor, context: ExpertContext, groups: RowGroups) -> Tensor:
        """All experts' rows [rows,C] in one product per matrix."""
        ratios = [expert.x_k.flatten() for expert in experts if expert.x_k is not None]
        if ratios:
            assert context.previous is not None, "grouped rows come as they are"
            h = torch.lerp(h, context.previous.to(h.dtype), groups.spread(ratios).to(h.dtype))
        keys, values = [expert.key.weight for expert in experts], [expert.value.weight for expert in experts]
        return grouped_squared_relu_network(h, keys, values, groups)

    @property
    def flops_per_token(self) -> int:
        """Forward floating-point operations of the two matrices for one token."""
        return 2 * (self.key.weight.numel() + self.value.weight.numel())
