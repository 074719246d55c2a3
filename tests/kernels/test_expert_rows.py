"""Gathering and weighted summing of rows against plain indexing."""

import pytest
import torch
from torch import Tensor

from camoe.kernels.expert_rows import rows_of_tokens, weighted_sum_of_rows

C = 5


def _places(n: int, top_k: int) -> tuple[Tensor, Tensor]:
    """tokens [n*K] and places [n,K] of a random order."""
    order = torch.randperm(n * top_k, generator=torch.Generator().manual_seed(n))
    return order // top_k, torch.argsort(order).view(n, top_k)


@pytest.mark.parametrize(("n", "top_k"), [(1, 1), (2, 3), (17, 2)])
def test_rows_equal_plain_indexing(n: int, top_k: int) -> None:
    tokens, places = _places(n, top_k)
    h = torch.randn(n, C, dtype=torch.float64, requires_grad=True)
    ours, plain = rows_of_tokens(h, tokens, places), h[tokens]
    assert torch.equal(ours, plain)
    cotangent = torch.randn(n * top_k, C, dtype=torch.float64)
    got, expected = (torch.autograd.grad(rows, h, cotangent)[0] for rows in (ours, plain))
    torch.testing.assert_close(got, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(("n", "top_k"), [(1, 1), (2, 3), (17, 2)])
def test_weighted_sums_equal_plain_indexing(n: int, top_k: int) -> None:
    tokens, places = _places(n, top_k)
    rows = torch.randn(n * top_k, C, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(n, top_k, dtype=torch.float64, requires_grad=True)
    ours, plain = weighted_sum_of_rows(rows, weights, tokens, places), (rows[places] * weights.unsqueeze(-1)).sum(1)
    torch.testing.assert_close(ours, plain, rtol=1e-14, atol=1e-14)
    cotangent = torch.randn(n, C, dtype=torch.float64)
    gradients = [torch.autograd.grad(out, (rows, weights), cotangent) for out in (ours, plain)]
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-14)


def test_weights_that_do_not_learn_cost_nothing() -> None:
    tokens, places = _places(6, 2)
    rows, weights = torch.randn(12, C, requires_grad=True), torch.rand(6, 2)
    weighted_sum_of_rows(rows, weights, tokens, places).sum().backward()
    expected = torch.empty(12).scatter_(0, places.flatten(), weights.flatten())
    assert rows.grad is not None
    torch.testing.assert_close(rows.grad, expected[:, None].expand(12, C))


def test_half_precision_rows_meet_fp32_weights() -> None:
    tokens, places = _places(6, 2)
    rows, weights = torch.randn(12, C).bfloat16().requires_grad_(), torch.rand(6, 2, requires_grad=True)
    out = weighted_sum_of_rows(rows, weights, tokens, places)
    assert out.dtype == torch.float32
    out.float().sum().backward()
    assert rows.grad is not None
    assert weights.grad is not None
    assert (rows.grad.dtype, weights.grad.dtype) == (torch.bfloat16, torch.float32)
