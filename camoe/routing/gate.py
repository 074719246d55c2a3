"""The gate: each expert owns a small confidence net, and all of them run as one product."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camoe.kernels.linear import linear
from camoe.kernels.without_autocast import without_autocast


class Gate(nn.Module):
    """Confidence of every expert in every token: Linear(C,hidden), GELU, Linear(hidden,1), once per expert.

    The E nets are stacked into `weight_in` [E*hidden,C] and `weight_out` [E,hidden]. `activation` is "sigmoid"
    (published by CaMoE v21.1: logits stay in 0..1) or "identity". Computed in fp32.
    """

    def __init__(self, n_embd: int, n_expert: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.n_expert, self.hidden, self.activation = n_expert, hidden, activation
        self.weight_in = nn.Parameter(torch.empty(n_expert * hidden, n_embd))
        self.bias_in = nn.Parameter(torch.empty(n_expert * hidden))
        self.weight_out = nn.Parameter(torch.empty(n_expert, hidden))
        self.bias_out = nn.Parameter(torch.empty(n_expert))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Uniform within +-1/sqrt(fan in) for each net, as torch's own Linear."""
        n_embd = self.weight_in.shape[1]
        for tensor, fan_in in (
            (self.weight_in, n_embd),
            (self.bias_in, n_embd),
            (self.weight_out, self.hidden),
            (self.bias_out, self.hidden),
        ):
            tensor.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def forward(self, h: Tensor) -> Tensor:
        """Gate logits [B,T,E] in fp32 (or the parameters' wider type) from hidden vectors [B,T,C]."""
        with without_autocast(h.device.type):
            hidden = F.gelu(linear(h.to(self.weight_in.dtype), self.weight_in, self.bias_in))
            hidden = hidden.unflatten(-1, (self.n_expert, self.hidden))
            confidence = (hidden * self.weight_out).sum(-1) + self.bias_out
        return torch.sigmoid(confidence) if self.activation == "sigmoid" else confidence
