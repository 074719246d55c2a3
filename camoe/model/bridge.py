"""Linear-State Bridge: from the RWKV state to the prefix that Transformer experts attend to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camoe.kernels import one_token
from camoe.kernels.bridge_rows import bridge_rows
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

    def forward(
        self, h: Tensor, readout: Tensor, tokens: Tensor | None = None, groups: RowGroups | None = None
    ) -> Tensor:
        """Low-rank rows [m,P,r] of `tokens` [m], of all where None, from hidden vectors and readouts, both [n,C].

        With `groups`, one only, both products leave out the rows behind it; those of the result mean nothing.
        """
        return self._rows(h, readout, tokens, groups).unflatten(-1, (self.prefix_len, self.low_rank))

    def _rows(self, h: Tensor, readout: Tensor, tokens: Tensor | None, groups: RowGroups | None) -> Tensor:
        """[m,P*r]."""
        norms, matrices = (self.readout_norm, self.feature_norm), (self.compress.weight, self.to_low.weight)
        if tokens is None and one_token.serves(h, self.compress.weight):
            return one_token.bridge_token(h, readout, norms, *matrices).view(1, -1)
        if groups is None:
            return bridge_rows(h, readout, tokens, norms[0], matrices[0], norms[1], matrices[1])
        if tokens is not None:
            h, readout = h.index_select(0, tokens), readout.index_select(0, tokens)
        joined = torch.cat((h, self.readout_norm(readout.to(h.dtype))), dim=-1)
        feature = F.gelu(self.feature_norm(groups.linear(joined, [self.compress.weight])))
        return groups.linear(feature, [self.to_low.weight])

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


@dataclass(frozen=True)
class OpenBridge:
    """The bridge during one forward of the model, with the map that all layers and experts share."""

    bridge: LinearStateBridge
    prefix_map: PrefixMap

    @staticmethod
    def of(bridge: LinearStateBridge | None) -> OpenBridge | None:
        """None where no expert needs a prefix."""
        return None if bridge is None else OpenBridge(bridge, bridge.prefix_map())
