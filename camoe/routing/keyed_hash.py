"""Experts drawn by a hash: the same key always draws the same ones, and another salt draws others."""

from __future__ import annotations

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # as a signed number, as are all constants here
_FIRST, _SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64


def salt_of_construction() -> int:
    """A salt from the seed that torch's generator was last given: that of the module under construction."""
    return torch.initial_seed() % 2**63


def drawn_experts(keys: Tensor, salt: int, n_expert: int, top_k: int) -> Tensor:
    """Distinct experts [...,K] of int64 keys [...]: those whose hash with the key is largest, the largest first.

    Every set of K is as likely as any other. Rendezvous hashing (Thaler and Ravishankar, 1998): no table, whatever the
    number of keys, and a smaller K draws the first of a larger one.
    """
    salted = mixed(keys + salt)
    experts = torch.arange(1, n_expert + 1, device=keys.device)
    return mixed(salted[..., None] + experts * _GOLDEN).topk(top_k, dim=-1).indices


def mixed(x: Tensor) -> Tensor:
    """Every bit of int64 x made to depend on all: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """x to the right, zeros coming in from the left, which int64 itself does not do."""
    return (x >> bits) & (2 ** (64 - bits) - 1)
