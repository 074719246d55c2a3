"""Exact attention to a low-rank prefix, in the form that is cheapest for the number of tokens."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from camoe.model.prefix_attention import attend
from camoe.model.prefix_map import PrefixMap

# Below this many tokens in one call of an expert it is cheaper to go through the basis token by token than to
# multiply key and value matrix with it first.
FEW_TOKENS = 8


class PrefixFactors(NamedTuple):
    """Key and value matrix of one expert times the prefix map's basis.

    key, value: [C,r+P] W_k g [Uc | pc], W_v g [Uc | pc]. value_bias: [C] W_v b. LayerNorm's bias adds the same to all
    keys of a head, which softmax does not see.
    """

    key: Tensor
    value: Tensor
    value_bias: Tensor


def prefix_factors(prefix_map: PrefixMap, key: Tensor, value: Tensor) -> PrefixFactors:
    """From W_k and W_v [C,C], as nn.Linear stores them; 4 C^2 (r+P) operations, whatever the number of tokens."""
    of_value = value @ prefix_map.basis
    return PrefixFactors(key @ prefix_map.basis[:, :-1], of_value[:, :-1], of_value[:, -1])


def attend_by_factors(query: Tensor, low: Tensor, prefix_map: PrefixMap, factors: PrefixFactors, size: int) -> Tensor:
    """Attended values [n,C] of queries [n,C] and rows low [n,P,r], for heads of this size."""
    key, value = factors.key.unflatten(0, (-1, size)), factors.value.unflatten(0, (-1, size))
    projected = torch.bmm(_by_head(query, size), key).transpose(0, 1)
    mixed = attend(projected, low, prefix_map, size**-0.5).transpose(0, 1)
    bias = factors.value_bias.view(-1, 1, size)
    return torch.baddbmm(bias, mixed, value.mT).transpose(0, 1).flatten(1)


def attend_absorbed(query: Tensor, low: Tensor, prefix_map: PrefixMap, key: Tensor, value: Tensor, size: int) -> Tensor:
    """The same from W_k and W_v [C,C] without their factors: each query goes through W_k and then through the basis."""
    basis = prefix_map.basis[:, :-1]
    projected = (torch.bmm(_by_head(query, size), key.unflatten(0, (-1, size))) @ basis).transpose(0, 1)
    mixed = attend(projected, low, prefix_map, size**-0.5).transpose(0, 1)
    bias = F.linear(prefix_map.basis[:, -1], value).view(-1, 1, size)
    return torch.baddbmm(bias, mixed @ basis.T, value.unflatten(0, (-1, size)).mT).transpose(0, 1).flatten(1)


def _by_head(x: Tensor, size: int) -> Tensor:
    """[n,C] -> [H,n,D]."""
    return x.unflatten(-1, (-1, size)).transpose(0, 1)
