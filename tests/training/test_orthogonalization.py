"""Newton-Schulz against the singular value decomposition, at any shape and in any company."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from camoe.training.orthogonalization import COEFFICIENTS, STEPS, orthogonalize

SHAPES = [(1, 5, 5), (3, 7, 4), (2, 4, 9), (4, 1, 6), (2, 33, 2), (1, 1, 1)]


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def by_singular_values(matrix: Tensor) -> Tensor:
    """U p(S / |S|) V^T, one number at a time."""
    u, values, vt = torch.linalg.svd(matrix, full_matrices=False)
    a, b, c = COEFFICIENTS
    norm = float(values.square().sum().sqrt())
    mapped = []
    for value in values.tolist():
        x = value / norm
        for _ in range(STEPS):
            x = a * x + b * x**3 + c * x**5
        mapped.append(x)
    return u @ torch.diag(torch.tensor(mapped, dtype=matrix.dtype)) @ vt


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_maps_every_singular_value(shape: tuple[int, int, int]) -> None:
    matrices = drawn(*shape)
    expected = torch.stack([by_singular_values(matrix) for matrix in matrices])
    torch.testing.assert_close(orthogonalize(matrices), expected, rtol=1e-9, atol=1e-9)


def test_it_is_near_the_polar_factor() -> None:
    """The nearest orthogonal matrix U V^T: same directions, lengths between 0.68 and 1.14."""
    (matrix,) = drawn(1, 12, 20)
    u, values, vt = torch.linalg.svd(matrix, full_matrices=False)
    assert float(values[-1] / torch.linalg.matrix_norm(matrix)) > 0.01
    (found,) = orthogonalize(matrix[None])
    lengths = u.mT @ found @ vt.mT
    off_diagonal = lengths - torch.diag(lengths.diagonal())
    assert float(off_diagonal.abs().max()) < 1e-9
    assert float(lengths.diagonal().min()) > 0.68
    assert float(lengths.diagonal().max()) < 1.14


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(5, 16, 12), (3, 7, 31)], ids=str)
def test_company_changes_nothing(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    matrices = drawn(*shape).to(dtype)
    alone = torch.cat([orthogonalize(matrix[None]) for matrix in matrices])
    torch.testing.assert_close(orthogonalize(matrices), alone)


def test_size_changes_nothing_and_zero_stays_zero() -> None:
    matrices = drawn(2, 6, 8)
    torch.testing.assert_close(orthogonalize(1e-4 * matrices), orthogonalize(matrices))
    matrices[1] = 0
    assert orthogonalize(matrices)[1].abs().max() == 0
