"""Products of groups of rows against one product per group; rows of no group stay out of everything."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.kernels.grouped_products import RowGroups
from camoe.kernels.squared_relu import grouped_squared_relu_network, squared_relu_network

COUNTS, N_ROW, N_IN, N_OUT = (3, 0, 7, 1), 16, 8, 12


def _groups() -> RowGroups:
    return RowGroups(torch.tensor(COUNTS).cumsum(0).to(torch.int32), N_ROW)


def _rows(width: int, seed: int = 0) -> Tensor:
    """Random rows; those of no group are not numbers."""
    rows = torch.randn(N_ROW, width, generator=torch.Generator().manual_seed(seed))
    rows[sum(COUNTS) :] = torch.nan
    return rows.requires_grad_()


def _weights(*shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator, requires_grad=True) for _ in COUNTS]


def _compare(ours: Tensor, pieces: list[Tensor], rows: Tensor, weights: list[Tensor]) -> None:
    """Values and gradients of ours [n_row,C] against one piece per group; nothing at rows of no group."""
    expected = torch.cat(pieces)
    served = sum(COUNTS)
    torch.testing.assert_close(ours[:served], expected, rtol=1e-5, atol=1e-4)
    assert not ours[served:].any()
    cotangent = torch.linspace(-1, 1, ours.numel()).view_as(ours)
    got = torch.autograd.grad(ours, [rows, *weights], cotangent, allow_unused=True, materialize_grads=True)
    wanted = torch.autograd.grad(expected, [rows, *weights], cotangent[:served], materialize_grads=True)
    for gradient, reference in zip(got, wanted, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-5, atol=1e-3)


def test_group_and_served_say_where_a_row_belongs() -> None:
    groups = _groups()
    assert groups.group[: sum(COUNTS)].tolist() == [0] * 3 + [2] * 7 + [3]
    assert groups.served.flatten().tolist() == [True] * 11 + [False] * 5


def test_linear_equals_one_product_per_group() -> None:
    rows, weights = _rows(N_IN), _weights(N_OUT, N_IN)
    pieces = [x @ w.T for x, w in zip(rows.split([*COUNTS, N_ROW - sum(COUNTS)]), weights, strict=False)]
    _compare(_groups().linear(rows, weights), pieces, rows, weights)


def test_the_squared_relu_network_equals_one_per_group() -> None:
    rows, keys, values = _rows(N_IN), _weights(32, N_IN), _weights(N_IN, 32)
    segments = rows.split([*COUNTS, N_ROW - sum(COUNTS)])
    pieces = [squared_relu_network(*each) for each in zip(segments, keys, values, strict=False)]
    _compare(grouped_squared_relu_network(rows, keys, values, _groups()), pieces, rows, [*keys, *values])


def test_spread_gives_each_row_its_groups_vector_and_sums_gradients() -> None:
    values = _weights(N_OUT)
    out = _groups().spread(values)
    for row, group in enumerate(_groups().group.tolist()):
        assert torch.equal(out[row], values[group])
    cotangent = _rows(N_OUT).detach()
    gradients = torch.autograd.grad(out, values, cotangent)
    for gradient, piece in zip(gradients, cotangent.split([*COUNTS, N_ROW - sum(COUNTS)]), strict=False):
        torch.testing.assert_close(gradient, piece.sum(0))


def test_select_takes_each_row_from_its_groups_candidate() -> None:
    groups = _groups()
    candidates = [torch.full((N_ROW, 2, 3), float(index)) for index in range(len(COUNTS))]
    assert torch.equal(groups.select(candidates)[:, 1, 2], groups.group.float())
