"""The affine map from low-rank rows to the prefix, in the form that lets attention skip the prefix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class PrefixMap:
    """What every Transformer expert of every layer shares of prefix_p = LN(U low_p + pos_p); made once per forward.

    LayerNorm subtracts a mean over channels and scales by a deviation. The mean is taken from U's columns and pos' rows
    beforehand (Uc, pc), so that prefix_p = g * (Uc low_p + pc_p) / deviation_p + b, with
    deviation_p^2 = low_p' gram low_p + 2 low_p . cross_p + energy_p.

    basis: [C,r+P+1] columns g * Uc, g * pc_p and b.
    gram: [r,r] Uc' Uc / C. cross: [P,r] pc_p' Uc / C. energy: [P] |pc_p|^2 / C + eps, LayerNorm's.
    """

    basis: Tensor
    gram: Tensor
    cross: Tensor
    energy: Tensor
    eps: float

    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        return self.basis, self.gram, self.cross, self.energy

    @staticmethod
    def of(up: Tensor, position: Tensor, norm: nn.LayerNorm) -> PrefixMap:
        """From U [C,r], pos [P,C] and the LayerNorm over C; gradients flow to all of them, in their own precision."""
        n_embd, rank = up.shape
        with torch.autocast(up.device.type, enabled=False):
            centred = torch.cat((up - up.mean(0), (position - position.mean(1, keepdim=True)).T), dim=1)
            products = centred.T @ centred / n_embd
            basis = torch.cat((norm.weight[:, None] * centred, norm.bias[:, None]), dim=1)
            energy = products.diagonal()[rank:] + norm.eps
        return PrefixMap(basis, products[:rank, :rank], products[rank:, :rank], energy, norm.eps)
