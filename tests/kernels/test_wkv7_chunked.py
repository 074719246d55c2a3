"""The chunked backend computes what the loop computes, at any length, and stays accurate where the keys are unkind."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from camoe.kernels.wkv7 import wkv7
from tests.kernels.wkv7_cases import largest_error, make_inputs, outputs_and_gradients

loop = partial(wkv7, backend="reference")
chunked = partial(wkv7, backend="chunked")


@pytest.mark.parametrize("kind", ["usual", "repeated", "forgetting"])
@pytest.mark.parametrize("head_size", [16, 64])
@pytest.mark.parametrize("n_tokens", [1, 5, 17, 37, 64, 101])
def test_float32_is_as_good_as_float32_can_be(n_tokens: int, head_size: int, kind: str) -> None:
    for seed in range(2):
        inputs = make_inputs(n_tokens, head_size, kind=kind, seed=seed)
        reference = outputs_and_gradients(loop, inputs, torch.float64)
        error, name = largest_error(outputs_and_gradients(chunked, inputs, torch.float32), reference)
        assert error <= 1e-6, f"{name}: {error:.1e}"


@pytest.mark.parametrize("head_size", [16, 32, 64, 128])
@pytest.mark.parametrize("n_tokens", [2, 16, 33])
@pytest.mark.parametrize("chunk_len", [1, 7, 16, 64])
def test_float64_equals_the_loop(n_tokens: int, head_size: int, chunk_len: int) -> None:
    inputs = make_inputs(n_tokens, head_size, n_batch=1)
    reference = outputs_and_gradients(loop, inputs, torch.float64)
    got = outputs_and_gradients(partial(chunked, chunk_len=chunk_len), inputs, torch.float64)
    error, name = largest_error(got, reference)
    assert error <= 1e-12, f"{name}: {error:.1e}"


def test_the_longest_chunk_survives_the_smallest_decay() -> None:
    inputs = make_inputs(64, 32, kind="forgetting")
    reference = outputs_and_gradients(loop, inputs, torch.float64)
    got = outputs_and_gradients(partial(chunked, chunk_len=64), inputs, torch.float32)
    error, name = largest_error(got, reference)
    assert error <= 5e-6, f"{name}: {error:.1e}"


@pytest.mark.parametrize("outputs_used", ["y", "sa", "final"])
def test_each_output_alone_carries_gradients(outputs_used: str) -> None:
    index = ("y", "sa", "final").index(outputs_used)
    inputs = make_inputs(20, 16)
    gradients = []
    for operation in (loop, chunked):
        leaves = [tensor.double().requires_grad_() for tensor in inputs]
        loss = operation(*leaves)[index].square().sum()
        gradients.append(torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True))
    for got, exact in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(got, exact, rtol=1e-10, atol=1e-12)


def test_gradcheck() -> None:
    inputs = [tensor.double().requires_grad_() for tensor in make_inputs(5, 4, n_batch=1, n_head=1)]
    assert torch.autograd.gradcheck(partial(chunked, chunk_len=2), inputs)


def test_a_second_backward_pass_gives_the_same_gradients() -> None:
    leaves = [tensor.requires_grad_() for tensor in make_inputs(33, 16)]
    loss = chunked(*leaves)[0].square().sum()
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    second = torch.autograd.grad(loss, leaves)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_final_state_keeps_only_itself_alive() -> None:
    final = chunked(*make_inputs(64, 16))[2]
    assert final.untyped_storage().nbytes() == final.numel() * final.element_size()


def test_the_gradients_it_is_given_are_left_alone() -> None:
    leaves = [tensor.requires_grad_() for tensor in make_inputs(33, 16)]
    outputs = chunked(*leaves)
    # A transposed gradient of the final state is already in the layout that the backward pass works in.
    given = [torch.ones_like(outputs[0]), torch.ones_like(outputs[1]), torch.ones_like(outputs[2]).mT]
    torch.autograd.grad(outputs, leaves, given)
    assert all(torch.all(gradient == 1) for gradient in given)
