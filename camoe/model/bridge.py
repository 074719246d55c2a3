"""Linear-State Bridge: from the RWKV state to the prefix that Transformer experts attend to."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LinearStateBridge(nn.Module):
    """One module shared by all layers: [h ; LN(readout)] -> feature [2C] -> low [P,r] -> prefix [P,C].

    feature = GELU(LN([h ; readout] W_c)); low = feature W_low; prefix = LN(low U + pos). The readout is the state's
    answer S_{t-1}(-kk_t) of the layer's TimeMix, so gradients run from the experts back into the RWKV state.
    Source: CaMoE v21.1 (Linear-State Bridge), materialised form; the readable reference of every faster one.
    """

    def __init__(self, n_embd: int, prefix_len: int, low_rank: int) -> None:
        super().__init__()
        self.prefix_len, self.low_rank = prefix_len, low_rank
        self.readout_norm = nn.LayerNorm(n_embd)
        self.compress = nn.Linear(2 * n_embd, 2 * n_embd, bias=False)
        self.feature_norm = nn.LayerNorm(2 * n_embd)
        self.to_low = nn.Linear(2 * n_embd, prefix_len * low_rank, bias=False)
        self.up = nn.Linear(low_rank, n_embd, bias=False)
        self.position = nn.Parameter(torch.empty(prefix_len, n_embd))
        self.prefix_norm = nn.LayerNorm(n_embd)
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, h: Tensor, readout: Tensor) -> Tensor:
        """Prefix [n,P,C] of n tokens from their hidden vectors and state readouts, both [n,C]."""
        joined = torch.cat((h, self.readout_norm(readout.to(h.dtype))), dim=-1)
        feature = F.gelu(self.feature_norm(self.compress(joined)))
        low = self.to_low(feature).unflatten(-1, (self.prefix_len, self.low_rank))
        return self.prefix_norm(self.up(low) + self.position)

    @property
    def flops_per_token(self) -> int:
        """Forward floating-point operations for one token."""
        compress, to_low = self.compress.weight.numel(), self.to_low.weight.numel()
        return 2 * (compress + to_low + self.prefix_len * self.up.weight.numel())
