"""The gate: each expert owns a small confidence net, and all of them run as one product."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from camoe.kernels import one_token
from camoe.kernels.gelu_readout import gelu_readout
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
        """Uniform within +-1/sqrt(fan in) for each net, as torch's own Linear.

        Net by net, so that an expert's net starts the same whatever the number of experts after it.
        """
        into, out = 1 / math.sqrt(self.weight_in.shape[1]), 1 / math.sqrt(self.hidden)
        for expert in range(self.n_expert):
            rows, one = slice(expert * self.hidden, (expert + 1) * self.hidden), slice(expert, expert + 1)
            for weights, bound in (
                (self.weight_in[rows], into),
                (self.bias_in[rows], into),
                (self.weight_out[one], out),
                (self.bias_out[one], out),
            ):
                weights.uniform_(-bound, bound)

    def forward(self, h: Tensor) -> Tensor:
        """Gate logits [B,T,E] in fp32 (or the parameters' wider type) from hidden vectors [B,T,C]."""
        if one_token.serves(h, self.weight_in):
            weights = (self.weight_in, self.bias_in, self.weight_out, self.bias_out)
            return one_token.gate_token(h, weights, squash=self.activation == "sigmoid")
        with without_autocast(h.device.type):
            hidden = linear(h.to(self.weight_in.dtype), self.weight_in, self.bias_in)
            hidden = hidden.unflatten(-1, (self.n_expert, self.hidden))
            confidence = gelu_readout(hidden, self.weight_out) + self.bias_out
        return torch.sigmoid(confidence) if self.activation == "sigmoid" else confidence
