"""Rows rounded to few bits, one weight after another as the reference, and rows that are tiny."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from camoe.inference.export.quantization import quantize_rows

BITS = [4, 5, 6, 8]


def _matrix(rows: int = 7, columns: int = 33) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bits", BITS)
def test_every_weight_is_rounded_to_the_nearest_code_of_its_row(bits: int) -> None:
    matrix, largest = _matrix(), 2 ** (bits - 1) - 1
    codes, scales = quantize_rows(matrix, bits)
    for row, found, scale in zip(matrix.tolist(), codes.tolist(), scales.float().tolist(), strict=True):
        assert scale == pytest.approx(max(map(abs, row)) / largest, rel=2**-8)
        assert found == [max(-largest, min(largest, round(weight / scale))) for weight in row]


@given(exponent=st.integers(-100, 100), bits=st.sampled_from(BITS), seed=st.integers(0, 1000))
def test_no_weight_is_off_by_more_than_half_a_scale(exponent: int, bits: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(5, 19, generator=generator) * 2.0**exponent
    rows = quantize_rows(matrix, bits)
    assert ((rows.weights() - matrix).abs() <= 0.501 * rows.scales.float()[:, None]).all()
    assert rows.codes.abs().amax(1).tolist() == [2 ** (bits - 1) - 1] * 5


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
