"""When and to what experts' numbers of rows are rounded up."""

import pytest
import torch

from camoe.kernels.matmul_precision import matmul_precision
from camoe.kernels.row_multiple import row_multiple


@pytest.mark.parametrize(("n_row", "expected"), [(0, 1), (1, 1), (127, 1), (128, 2), (1500, 16), (4096, 64)])
def test_a_power_of_two_of_at_most_a_64th(n_row: int, expected: int) -> None:
    with matmul_precision("medium"):
        assert row_multiple(n_row, "cpu") == expected


def test_only_where_onednn_computes() -> None:
    with matmul_precision("highest"):
        assert row_multiple(4096, "cpu") == 1
        with torch.autocast("cpu", torch.bfloat16):
            assert row_multiple(4096, "cpu") == 64
    with matmul_precision("medium"):
        assert row_multiple(4096, "cuda") == 1
