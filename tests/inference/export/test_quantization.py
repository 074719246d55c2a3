"""Rows rounded to few bits, against a search written out, and rows that are tiny."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from camoe.inference.export.quantization import SHRINKAGES, quantize_rows

BITS = [4, 5, 6, 8]


def _matrix(rows: int = 7, columns: int = 33) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


def _best_scale(row: list[float], largest: int) -> float:
    """One scale after another, one weight after another, in Python's own arithmetic."""
    best, least = 0.0, float("inf")
    for shrinkage in SHRINKAGES:
        scale = float(torch.tensor(shrinkage * max(map(abs, row)) / largest).bfloat16())
        codes = [max(-largest, min(largest, round(weight / scale))) for weight in row]
        error = sum((code * scale - weight) ** 2 for code, weight in zip(codes, row, strict=True))
        if error < least:
            best, least = scale, error
    return best


@pytest.mark.parametrize("bits", BITS)
def test_the_scale_is_the_best_of_those_tried(bits: int) -> None:
    matrix, largest = _matrix(), 2 ** (bits - 1) - 1
    codes, scales = quantize_rows(matrix, bits)
    for row, found, scale in zip(matrix, codes, scales.float(), strict=True):
        assert float(scale) == pytest.approx(_best_scale(row.tolist(), largest))
        assert found.tolist() == [max(-largest, min(largest, round(float(weight / scale)))) for weight in row]
    assert codes.abs().max() == largest


@pytest.mark.parametrize("bits", BITS)
def test_more_bits_are_nearer_and_the_search_helps(bits: int) -> None:
    matrix = _matrix(40, 500)
    reach = (matrix.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)).bfloat16().float()
    plain = ((matrix / reach).round() * reach - matrix).square().mean()
    error = (quantize_rows(matrix, bits).weights() - matrix).square().mean()
    assert error <= plain
    if bits == 4:
        assert error < 0.8 * plain
    if bits < 8:
        assert error > 2 * (quantize_rows(matrix, bits + 1).weights() - matrix).square().mean()


@given(exponent=st.integers(-100, 100), bits=st.sampled_from(BITS))
def test_tiny_and_huge_rows_survive(exponent: int, bits: int) -> None:
    """A floor under the scales would round rows of tiny weights to zero."""
    matrix = _matrix()
    powers = torch.ones(7)
    powers[3] = 2.0**exponent
    usual, scaled = quantize_rows(matrix, bits), quantize_rows(matrix * powers[:, None], bits)
    assert torch.equal(usual.codes, scaled.codes)
    assert torch.equal(usual.scales.float() * powers, scaled.scales.float())
    assert scaled.weights()[3].abs().max() > 0


def test_rows_of_zeros_stay_zeros() -> None:
    matrix = _matrix()
    matrix[2] = 0
    weights = quantize_rows(matrix, 6).weights()
    assert (weights[2] == 0).all()
    assert weights.isfinite().all()
