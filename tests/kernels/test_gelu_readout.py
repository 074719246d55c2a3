"""The readout that computes its GELU twice against the same written out."""

import pytest
import torch
import torch.nn.functional as F

from camoe.kernels.gelu_readout import gelu_readout


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 5, 4, 7), (13, 3, 64)])
def test_values_and_gradients_equal_the_formula(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(shape, requires_grad=True), torch.randn(shape[-2:], requires_grad=True)
    ours, plain = gelu_readout(x, weight), (F.gelu(x) * weight).sum(-1)
    assert torch.equal(ours, plain)
    cotangent = torch.randn_like(plain)
    for mine, theirs in zip(
        torch.autograd.grad(ours, (x, weight), cotangent),
        torch.autograd.grad(plain, (x, weight), cotangent),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


def test_its_gradient_is_that_of_the_function() -> None:
    x = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gelu_readout, (x, weight))


def test_only_what_goes_in_is_kept() -> None:
    kept: list[torch.Tensor] = []
    x, weight = torch.randn(4, 2, 5, requires_grad=True), torch.randn(2, 5, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        gelu_readout(x, weight)
    assert [tensor.data_ptr() for tensor in kept] == [x.data_ptr(), weight.data_ptr()]
