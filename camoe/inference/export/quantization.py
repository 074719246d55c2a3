"""Symmetric round-to-nearest of matrices, a scale for every row."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# A row's scale is searched below the one that reaches its largest weight: clipping a few makes all others finer.
SHRINKAGES = tuple(1 - step / 32 for step in range(17))


class QuantizedRows(NamedTuple):
    """Rows of codes [R,C] int8 in -(2^(bits-1) - 1) .. 2^(bits-1) - 1, and their scales [R] bfloat16."""

    codes: Tensor
    scales: Tensor

    def weights(self) -> Tensor:
        """[R,C] float32."""
        return self.codes.float() * self.scales.float()[:, None]


def quantize_rows(matrix: Tensor, bits: int) -> QuantizedRows:
    """Rows [R,C], each with the scale of least squared error among SHRINKAGES of its largest weight.

    Scales have no floor: they are bfloat16, whose exponents are those of float32, so that a row of tiny weights keeps
    its relative accuracy. Codes are rounded with the scale as stored.
    """
    matrix, largest = matrix.float(), 2 ** (bits - 1) - 1
    reach = matrix.abs().amax(1) / largest
    best = _rounded(matrix, reach, largest)
    least = _squared_error(best, matrix)
    for shrinkage in SHRINKAGES[1:]:
        tried = _rounded(matrix, shrinkage * reach, largest)
        error = _squared_error(tried, matrix)
        better = error < least
        least = torch.where(better, error, least)
        codes = torch.where(better[:, None], tried.codes, best.codes)
        best = QuantizedRows(codes, torch.where(better, tried.scales, best.scales))
    return best


def _rounded(matrix: Tensor, scales: Tensor, largest: int) -> QuantizedRows:
    kept = scales.bfloat16()
    divisor = kept.float().masked_fill(kept == 0, 1)[:, None]
    return QuantizedRows((matrix / divisor).round().clamp(-largest, largest).to(torch.int8), kept)


def _squared_error(rows: QuantizedRows, matrix: Tensor) -> Tensor:
    """[R], relative to each row's largest weight squared, which tiny rows need: their squares would vanish."""
    largest = matrix.abs().amax(1, keepdim=True)
    return ((rows.weights() - matrix) / largest.masked_fill(largest == 0, 1)).square().sum(1)
