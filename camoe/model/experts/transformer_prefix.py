"""Transformer expert: one query per token attends to the prefix made from the RWKV state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from camoe.kernels import one_token
from camoe.kernels.grouped_products import RowGroups
from camoe.kernels.linear import Linear
from camoe.model.derived_weights import DerivedWeights, wants_gradient
from camoe.model.experts.expert import Expert, ExpertContext
from camoe.model.initialization import initialize_orthogonal
from camoe.model.low_rank_prefix import (
    FEW_TOKENS,
    PrefixFactors,
    attend_absorbed,
    attend_by_factors,
    attend_by_groups,
    prefix_factors,
)
from camoe.model.prefix_map import PrefixMap


class TransformerPrefix(Expert):
    """q = h W_q, K = prefix W_k, V = prefix W_v; out = softmax(q K^T / sqrt(D)) V W_o * sigmoid(h W_g + b_g).

    A token needs no other token's keys, so the cost per token does not grow with the context. Keys and values have no
    bias and follow the prefix's LayerNorm directly, so attention runs exactly in the prefix's low rank and no row, key
    or value is ever written out. Source: CaMoE v21.1.
    """

    kind = "transformer_prefix"
    needs_prefix = True

    def __init__(self, n_embd: int, head_size: int, prefix_len: int, low_rank: int) -> None:
        super().__init__()
        self.head_size, self.prefix_len, self.low_rank = head_size, prefix_len, low_rank
        self.query = Linear(n_embd, n_embd, bias=False)
        self.key = Linear(n_embd, n_embd, bias=False)
        self.value = Linear(n_embd, n_embd, bias=False)
        self.output = Linear(n_embd, n_embd, bias=False)
        self.output_gate = Linear(n_embd, n_embd)
        initialize_orthogonal(self.output.weight, gain=0.1)
        self._factors = DerivedWeights[PrefixFactors]()

    def forward(self, h: Tensor, context: ExpertContext) -> Tensor:
        """Outputs [n,C] of n tokens with hidden vectors h [n,C]."""
        assert context.low is not None, "the mixture gives rows to every expert that needs a prefix"
        assert context.prefix_map is not None, "rows come with their map"
        if one_token.serves(h, self.query.weight):
            return self._of_one_token(h, context.low, context.prefix_map)
        attended = self.attend(self.query(h), context.low, context.prefix_map)
        return self.output(attended) * torch.sigmoid(self.output_gate(h))

    @classmethod
    def forward_grouped(cls, experts: Sequence[Self], h: Tensor, context: ExpertContext, groups: RowGroups) -> Tensor:
        """All experts' rows [rows,C] in one product per matrix; what depends on the token alone runs once."""
        assert context.low is not None, "the mixture gives rows to every expert that needs a prefix"
        assert context.prefix_map is not None, "rows come with their map"
        query = groups.linear(h, [expert.query.weight for expert in experts])
        factors = [expert.factors(context.prefix_map, query.dtype) for expert in experts]
        attended = attend_by_groups(query, context.low, context.prefix_map, factors, groups)
        output = groups.linear(attended, [expert.output.weight for expert in experts])
        bias = groups.spread([expert.output_gate.bias for expert in experts])
        gate = groups.linear(h, [expert.output_gate.weight for expert in experts]) + bias.to(query.dtype)
        return output * torch.sigmoid(gate)

    def attend(self, query: Tensor, low: Tensor, prefix_map: PrefixMap) -> Tensor:
        """Attended values [n,C] of queries [n,C] and rows low [n,P,r], by the form that is cheapest here."""
        key, value = self.key.weight, self.value.weight
        if len(query) < FEW_TOKENS and wants_gradient((key, value, prefix_map.basis)):
            return attend_absorbed(query, low, prefix_map, key, value, self.head_size)
        return attend_by_factors(query, low, prefix_map, self.factors(prefix_map, query.dtype))

    def _of_one_token(self, h: Tensor, low: Tensor, prefix_map: PrefixMap) -> Tensor:
        """`forward` of h [1,C] without gradients, in native code."""
        shared = (low, prefix_map.gram, prefix_map.cross, prefix_map.energy)
        prefix = one_token.PrefixOfToken(*shared, *self.factors(prefix_map, h.dtype))
        gate = self.output_gate
        weights = (self.query.weight, self.output.weight, gate.weight, gate.bias)
        return one_token.prefix_token(h, prefix, weights, prefix_map.eps)

    def factors(self, prefix_map: PrefixMap, dtype: torch.dtype) -> PrefixFactors:
        """W_k and W_v times the map's basis, for queries of this dtype; kept where nobody asks for their gradients."""
        key, value = self.key.weight, self.value.weight
        weights = (key, value, prefix_map.basis)
        return self._factors.get(weights, lambda: prefix_factors(prefix_map, key, value, self.head_size), kind=dtype)

    def _apply(self, *args: Any, **kwargs: Any) -> TransformerPrefix:
        self._factors.forget()
        return super()._apply(*args, **kwargs)

    @property
    def flops_per_token(self) -> int:
        """Forward floating-point operations for one token when factors exist, the bridge not included.

        Making the factors costs 4 C^2 (r+P) per call, shared by its tokens.
        """
        n_embd, rows, rank = self.query.in_features, self.prefix_len, self.low_rank
        through_factors = 2 * n_embd * (rank + rows)
        scores_and_mix = 2 * rows * rank * (n_embd // self.head_size)
        deviation = rows * rank**2
        return 2 * (3 * n_embd**2 + through_factors + scores_and_mix + deviation)
