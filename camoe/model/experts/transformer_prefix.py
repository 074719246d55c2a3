"""Transformer expert: one query per token attends to the prefix made from the RWKV state."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camoe.model.experts.expert import Expert, ExpertContext
from camoe.model.initialization import initialize_orthogonal


class TransformerPrefix(Expert):
    """q = h W_q, K = prefix W_k, V = prefix W_v; out = softmax(q K^T / sqrt(D)) V W_o * sigmoid(h W_g + b_g).

    A token needs no other token's keys, so the cost per token does not grow with the context. Keys and values have no
    bias and follow the prefix's LayerNorm directly, which the exact low-rank form relies on. Source: CaMoE v21.1.
    """

    needs_prefix = True

    def __init__(self, n_embd: int, head_size: int, prefix_len: int) -> None:
        super().__init__()
        self.head_size, self.prefix_len = head_size, prefix_len
        self.query = nn.Linear(n_embd, n_embd, bias=False)
        self.key = nn.Linear(n_embd, n_embd, bias=False)
        self.value = nn.Linear(n_embd, n_embd, bias=False)
        self.output = nn.Linear(n_embd, n_embd, bias=False)
        self.output_gate = nn.Linear(n_embd, n_embd)
        initialize_orthogonal(self.output.weight, gain=0.1)

    def forward(self, h: Tensor, context: ExpertContext) -> Tensor:
        """Outputs [n,C] of n tokens with hidden vectors h [n,C] and prefixes [n,P,C]."""
        assert context.prefix is not None, "the mixture gives a prefix to every expert that needs one"
        query = self._heads(self.query(h)[:, None])
        key, value = self._heads(self.key(context.prefix)), self._heads(self.value(context.prefix))
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.output(attended.flatten(1)) * torch.sigmoid(self.output_gate(h))

    def _heads(self, x: Tensor) -> Tensor:
        """[n,rows,C] -> [n,H,rows,D]."""
        return x.unflatten(-1, (-1, self.head_size)).transpose(1, 2)

    @property
    def flops_per_token(self) -> int:
        """Forward floating-point operations for one token, the bridge not included."""
        matrix = self.query.weight.numel()
        scores_and_mix = 2 * self.prefix_len * self.query.in_features
        return 2 * (matrix * (3 + 2 * self.prefix_len) + scores_and_mix)
