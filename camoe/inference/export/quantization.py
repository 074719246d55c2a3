"""Symmetric round-to-nearest of matrices, a scale for every row."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class QuantizedRows(NamedTuple):
    """Rows of codes [R,C] int8 in -(2^(bits-1) - 1) .. 2^(bits-1) - 1, and their scales [R] bfloat16."""

    codes: Tensor
    scales: Tensor

    def weights(self) -> Tensor:
        """[R,C] float32."""
        return self.codes.float() * self.scales.float()[:, None]


def quantize_rows(matrix: Tensor, bits: int) -> QuantizedRows:
    """Rows [R,C], each with the scale that reaches its largest weight; no weight is off by more than half a scale.

    Scales have no floor: they are bfloat16, whose exponents are those of float32, so that a row of tiny weights keeps
    its relative accuracy. Codes are rounded with the scale as stored.
    """
    matrix, largest = matrix.float(), 2 ** (bits - 1) - 1
    scales = (matrix.abs().amax(1) / largest).bfloat16()
    divisor = scales.float().masked_fill(scales == 0, 1)[:, None]
    return QuantizedRows((matrix / divisor).round().clamp(-largest, largest).to(torch.int8), scales)
