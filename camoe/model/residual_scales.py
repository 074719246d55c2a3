"""The residual stream of the parameter-golf models: learned numbers per channel in it, and norms without any.

Source: OpenAI's parameter-golf baseline and Complexity-ML's submissions 224 and 250 to it (`resid_mix`, `attn_scale`,
`mlp_scale`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camoe.config.model import ModelConfig


class ResidualScales(nn.Module):
    """x <- stream * x + first * x0 before a block, and what its two parts add times `mixing` and `experts`; all [C].

    x0 is the normalised embedding, with which the first block begins. At first x0 has no weight and the others weigh 1.
    """

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        self.stream, self.first, self.mixing, self.experts = (nn.Parameter(torch.empty(n_embd)) for _ in range(4))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """See the class."""
        self.first.zero_()
        for weight in (self.stream, self.mixing, self.experts):
            weight.fill_(1)

    def forward(self, x: Tensor, first: Tensor) -> Tensor:
        """The stream x [B,T,C] into the block, from that of the block below and x0 [B,T,C]."""
        return self.stream * x + self.first * first


def scaled(added: Tensor, scale: Tensor | None) -> Tensor:
    """What a part of a block adds to the stream [B,T,C], times its scale [C] if it has one."""
    return added if scale is None else added * scale


def build_norm(model: ModelConfig) -> nn.Module:
    """Norm of the residual stream: LayerNorm; with `model.residual_scales` the root mean square alone, no weights."""
    if model.residual_scales:
        return nn.RMSNorm(model.n_embd, elementwise_affine=False)
    return nn.LayerNorm(model.n_embd)
