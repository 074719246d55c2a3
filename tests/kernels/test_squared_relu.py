"""The squared-ReLU network against plain autograd."""

import pytest
import torch
from torch import Tensor

from camoe.kernels.squared_relu import squared_relu_, squared_relu_network, times_root_


def _inputs(n: int, n_embd: int, hidden: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(n)
    shapes = ((n, n_embd), (hidden, n_embd), (n_embd, hidden))
    return [torch.randn(shape, dtype=dtype, generator=generator, requires_grad=True) for shape in shapes]


def _plain(x: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.relu(x @ key.T).square() @ value.T


@pytest.mark.parametrize(("n", "n_embd", "hidden"), [(0, 4, 8), (1, 3, 5), (7, 8, 32), (33, 5, 17)])
def test_values_and_gradients_equal_plain_autograd(n: int, n_embd: int, hidden: int) -> None:
    inputs = _inputs(n, n_embd, hidden)
    ours, plain = squared_relu_network(*inputs), _plain(*inputs)
    torch.testing.assert_close(ours, plain, rtol=1e-13, atol=1e-13)
    cotangent = torch.randn(n, n_embd, dtype=torch.float64)
    gradients = [torch.autograd.grad(out, inputs, cotangent) for out in (ours, plain)]
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("learns", [(0,), (1,), (2,), (0, 2)])
def test_what_does_not_learn_gets_no_gradient(learns: tuple[int, ...]) -> None:
    inputs = _inputs(6, 4, 9)
    for index, tensor in enumerate(inputs):
        tensor.requires_grad_(index in learns)
    squared_relu_network(*inputs).sum().backward()
    plain = [tensor.detach().requires_grad_() for tensor in inputs]
    _plain(*plain).sum().backward()
    for index, (ours, reference) in enumerate(zip(inputs, plain, strict=True)):
        assert (ours.grad is not None) == (index in learns)
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, reference.grad)


def test_a_second_backward_repeats_the_first() -> None:
    inputs = _inputs(6, 4, 9)
    out = squared_relu_network(*inputs).sum()
    first = torch.autograd.grad(out, inputs, retain_graph=True)
    for once, again in zip(first, torch.autograd.grad(out, inputs), strict=True):
        assert torch.equal(once, again)


def test_autocast_decides_the_products_dtype() -> None:
    inputs = _inputs(6, 8, 16, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, plain = squared_relu_network(*inputs), torch.relu(inputs[0] @ inputs[1].T).square() @ inputs[2].T
    assert out.dtype == plain.dtype == torch.bfloat16
    torch.testing.assert_close(out, plain)
    gradients = torch.autograd.grad(out.float().sum(), inputs)
    for gradient, reference in zip(gradients, torch.autograd.grad(_plain(*inputs).sum(), inputs), strict=True):
        assert gradient.dtype == torch.float32
        assert float((gradient - reference).norm() / reference.norm()) < 0.02


def test_only_one_hidden_array_is_kept() -> None:
    inputs, kept = _inputs(16, 4, 64), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.shape) or tensor, lambda t: t):
        squared_relu_network(*inputs)
    assert kept.count(torch.Size((16, 64))) == 1


@pytest.mark.parametrize("shape", [(0, 4), (3, 5), (7, 9_973)])
def test_native_passes_equal_torch(shape: tuple[int, int]) -> None:
    x, grad = torch.randn(shape), torch.randn(shape)
    squared, plain = squared_relu_(x.clone()), squared_relu_(x.double())
    torch.testing.assert_close(squared, plain.float(), rtol=2e-7, atol=0)
    ours, reference = times_root_(grad.clone(), squared), times_root_(grad.double(), plain)
    torch.testing.assert_close(ours, reference.float(), rtol=4e-7, atol=0)
    torch.testing.assert_close(times_root_(grad.T.clone().T, squared), ours, rtol=2e-7, atol=0)


def test_what_is_not_a_number_stays_so() -> None:
    assert squared_relu_(torch.tensor([float("nan"), -float("inf"), -1.0, 2.0])).tolist()[1:] == [0, 0, 4]
    assert squared_relu_(torch.full((40,), float("nan"))).isnan().all()
