"""Exact attention to a low-rank prefix, by the factors of keys and values or, for few tokens, without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from camoe.kernels.grouped_products import RowGroups
from camoe.model.prefix_attention import attend
from camoe.model.prefix_map import PrefixMap

# Below this many tokens in one call of an expert it is cheaper to take each query and each mixture through the basis
# than to multiply key and value matrix with it first. Measured with heads of 64; wider heads would move it up.
FEW_TOKENS = 16


class PrefixFactors(NamedTuple):
    """Key and value matrix of one expert times the prefix map's basis, by heads.

    key: [H,D,r+P] W_k g [Uc | pc] / sqrt(D). value: [H,D,r+P] W_v g [Uc | pc]. value_bias: [H,1,D] W_v b. LayerNorm's
    bias adds the same to all keys of a head, which softmax does not see.
    """

    key: Tensor
    value: Tensor
    value_bias: Tensor


def prefix_factors(prefix_map: PrefixMap, key: Tensor, value: Tensor, size: int) -> PrefixFactors:
    """From W_k and W_v [C,C], as nn.Linear stores them; 4 C^2 (r+P) operations, whatever the number of tokens."""
    of_key = key @ (prefix_map.basis[:, :-1] * size**-0.5)
    of_value = (value @ prefix_map.basis).unflatten(0, (-1, size))
    return PrefixFactors(of_key.unflatten(0, (-1, size)), of_value[..., :-1], of_value[..., -1].unsqueeze(1))


def attend_by_factors(query: Tensor, low: Tensor, prefix_map: PrefixMap, factors: PrefixFactors) -> Tensor:
    """Attended values [n,C] of queries [n,C] and rows low [n,P,r]."""
    return _outputs(attend(_projected(query, factors), low, prefix_map), factors)


def attend_by_groups(
    query: Tensor, low: Tensor, prefix_map: PrefixMap, factors: Sequence[PrefixFactors], groups: RowGroups
) -> Tensor:
    """The same with factors of its own for each group of queries; the small products run for every group on all."""
    mixed = attend(groups.select([_projected(query, each) for each in factors]), low, prefix_map)
    return groups.select([_outputs(mixed, each) for each in factors])


def attend_absorbed(query: Tensor, low: Tensor, prefix_map: PrefixMap, key: Tensor, value: Tensor, size: int) -> Tensor:
    """The same from W_k and W_v [C,C] without their factors, for heads of this size."""
    basis = prefix_map.basis[:, :-1]
    through_key = torch.bmm(_by_head(query * size**-0.5, size), key.unflatten(0, (-1, size)))
    mixed = attend((through_key @ basis).transpose(0, 1), low, prefix_map).transpose(0, 1)
    bias = F.linear(prefix_map.basis[:, -1], value).view(-1, 1, size)
    out = torch.baddbmm(bias, mixed @ basis.T, value.unflatten(0, (-1, size)).mT)
    return out.transpose(0, 1).reshape(query.shape)


def _projected(query: Tensor, factors: PrefixFactors) -> Tensor:
    """Queries [n,C] through their heads' key factors: [n,H,r+P]."""
    return torch.bmm(_by_head(query, factors.key.shape[1]), factors.key).transpose(0, 1)


def _outputs(mixed: Tensor, factors: PrefixFactors) -> Tensor:
    """Attended values [n,C] from coefficients over the basis [n,H,r+P]."""
    out = torch.baddbmm(factors.value_bias, mixed.transpose(0, 1), factors.value.mT)
    return out.transpose(0, 1).reshape(len(mixed), out.shape[0] * out.shape[2])


def _by_head(x: Tensor, size: int) -> Tensor:
    """[n,C] -> [H,n,D]."""
    return x.view(len(x), x.shape[1] // size, size).transpose(0, 1)
