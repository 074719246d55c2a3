"""Attention to a prefix with every row, key and value written out: dear, and what the fast form is checked against."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from camoe.model.bridge import LinearStateBridge


def materialised_prefix(bridge: LinearStateBridge, low: Tensor) -> Tensor:
    """Prefix [n,P,C] of rows low [n,P,r]: LN(low U + pos)."""
    return bridge.prefix_norm(bridge.up(low) + bridge.position)


def materialised_attention(query: Tensor, prefix: Tensor, key: Tensor, value: Tensor, size: int) -> Tensor:
    """softmax(q K^T / sqrt(D)) V [n,C] by heads of this size; K = prefix W_k, V = prefix W_v, one query per token.

    query: [n,C]. prefix: [n,P,C]. key, value: W_k and W_v [C,C] as nn.Linear stores them.
    """
    queries, keys = _heads(query[:, None], size), _heads(F.linear(prefix, key), size)
    return F.scaled_dot_product_attention(queries, keys, _heads(F.linear(prefix, value), size)).flatten(1)


def _heads(x: Tensor, size: int) -> Tensor:
    """[n,rows,C] -> [n,H,rows,D]."""
    return x.unflatten(-1, (-1, size)).transpose(1, 2)
