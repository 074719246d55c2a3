"""Linear-State Bridge: from the RWKV state to the prefix that Transformer experts attend to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camoe.kernels import one_token
from camoe.kernels.grouped_products import RowGroups
from camoe.kernels.linear import Linear
from camoe.model.derived_weights import DerivedWeights
from camoe.model.prefix_map import PrefixMap


class LinearStateBridge(nn.Module):
    """One module shared by all layers: [h ; LN(readout)] -> feature [2C] -> low [P,r] -> prefix [P,C].

    feature = GELU(LN([h ; readout] W_c)); low = feature W_low; prefix = LN(low U + pos). The readout is the state's
    answer S_{t-1}(-kk_t) of the layer's TimeMix, so gradients run from the experts back into the RWKV state.
    The last step is never carried out: it is the same affine map for every token, and the experts attend through it.
    Source: CaMoE v21.1 (Linear-State Bridge).
    """

    def __init__(self, n_embd: int, prefix_len: int, low_rank: int) -> None:
        super().__init__()
        self.prefix_len, self.low_rank = prefix_len, low_rank
        self.readout_norm = nn.LayerNorm(n_embd)
        self.compress = Linear(2 * n_embd, 2 * n_embd, bias=False)
        self.feature_norm = nn.LayerNorm(2 * n_embd)
        self.to_low = Linear(2 * n_embd, prefix_len * low_rank, bias=False)
        self.up = Linear(low_rank, n_embd, bias=False)
        self.position = nn.Parameter(torch.empty(prefix_len, n_embd))
        self.prefix_norm = nn.LayerNorm(n_embd)
        nn.init.trunc_normal_(self.position, std=0.02)
        self._map = DerivedWeights[PrefixMap]()

    def forward(self, h: Tensor, readout: Tensor, groups: RowGroups | None = None) -> Tensor:
        """Low-rank rows [n,P,r] of n tokens from their hidden vectors and state readouts, both [n,C].

        With `groups`, one only, both products leave out the rows behind it; those of the result mean nothing.
        """
        if one_token.serves(h, self.compress.weight):
            norms, matrices = (self.readout_norm, self.feature_norm), (self.compress.weight, self.to_low.weight)
            return one_token.bridge_token(h, readout, norms, *matrices).view(1, self.prefix_len, self.low_rank)
        joined = torch.cat((h, self.readout_norm(readout.to(h.dtype))), dim=-1)
        feature = F.gelu(self.feature_norm(_product(self.compress, joined, groups)))
        return _product(self.to_low, feature, groups).unflatten(-1, (self.prefix_len, self.low_rank))

    def prefix_map(self) -> PrefixMap:
        """The map from low-rank rows to the prefix; where nobody asks for its gradients the last one serves again."""
        norm = self.prefix_norm
        weights = (self.up.weight, self.position, norm.weight, norm.bias)
        return self._map.get(weights, lambda: PrefixMap.of(self.up.weight, self.position, norm))

    def _apply(self, *args: Any, **kwargs: Any) -> LinearStateBridge:
        self._map.forget()
        return super()._apply(*args, **kwargs)

    @property
    def flops_per_token(self) -> int:
        """Forward floating-point operations for one token."""
        return 2 * (self.compress.weight.numel() + self.to_low.weight.numel())


def _product(layer: nn.Linear, x: Tensor, groups: RowGroups | None) -> Tensor:
    return layer(x) if groups is None else groups.linear(x, [layer.weight])


@dataclass(frozen=True)
class OpenBridge:
    """The bridge during one forward of the model, with the map that all layers and experts share."""

    bridge: LinearStateBridge
    prefix_map: PrefixMap

    @staticmethod
    def of(bridge: LinearStateBridge | None) -> OpenBridge | None:
        """None where no expert needs a prefix."""
        return None if bridge is None else OpenBridge(bridge, bridge.prefix_map())
