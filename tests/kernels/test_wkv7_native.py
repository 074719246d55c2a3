"""The C++ backend computes what the loop computes, the same bits with any number of threads."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from camoe.config import ConfigError
from camoe.kernels import native_build, wkv7_native
from camoe.kernels.wkv7 import wkv7
from tests.kernels.wkv7_cases import largest_error, make_inputs, needs_native, outputs_and_gradients

pytestmark = needs_native
loop = partial(wkv7, backend="reference")
chunked = partial(wkv7, backend="chunked")
native = partial(wkv7, backend="native")


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts back the number of threads that the test changes."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", ["usual", "repeated", "forgetting"])
@pytest.mark.parametrize("head_size", [16, 32, 64, 128])
@pytest.mark.parametrize("n_tokens", [1, 5, 17, 37, 64])
def test_float32_is_as_good_as_float32_can_be(n_tokens: int, head_size: int, kind: str) -> None:
    inputs = make_inputs(n_tokens, head_size, kind=kind)
    reference = outputs_and_gradients(loop, inputs, torch.float64)
    error, name = largest_error(outputs_and_gradients(native, inputs, torch.float32), reference)
    assert error <= 1e-6, f"{name}: {error:.1e}"


@pytest.mark.parametrize("head_size", [16, 32, 64, 128])
@pytest.mark.parametrize("n_tokens", [1, 16, 40])
def test_without_gradients_the_outputs_are_as_good(n_tokens: int, head_size: int) -> None:
    """One token then takes a path of its own, and no states are saved."""
    inputs = make_inputs(n_tokens, head_size)
    for got, exact in zip(native(*inputs), loop(*(x.double() for x in inputs)), strict=True):
        assert (got - exact).abs().max() <= 1e-6 * exact.abs().max()


@pytest.fixture(params=["-march=x86-64 -mavx2 -mfma", "-march=x86-64"], ids=["avx2", "sse2"])
def lesser_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The kernel compiled for a CPU with shorter vectors and fewer registers."""
    flags = [flag for flag in native_build.FLAGS if flag != "-march=native"]
    monkeypatch.setattr(native_build, "FLAGS", (*flags, *request.param.split()))
    monkeypatch.setenv("CAMOE_CACHE", str(tmp_path))
    caches = (native_build.load, wkv7_native._functions)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="compiles for x86-64 only")
@pytest.mark.usefixtures("lesser_cpu")
def test_other_vector_widths_are_as_good() -> None:
    for head_size in (16, 64):
        for inputs in (make_inputs(1, head_size), make_inputs(37, head_size, kind="repeated")):
            exact = loop(*(x.double() for x in inputs))
            for got, expected in zip(native(*inputs), exact, strict=True):
                assert (got - expected).abs().max() <= 1e-6 * expected.abs().max()
            reference = outputs_and_gradients(loop, inputs, torch.float64)
            error, name = largest_error(outputs_and_gradients(native, inputs, torch.float32), reference)
            assert error <= 1e-6, f"{name}: {error:.1e}"


def test_a_long_sequence_stays_accurate() -> None:
    inputs = make_inputs(300, 32, n_batch=1)
    reference = outputs_and_gradients(loop, inputs, torch.float64)
    error, name = largest_error(outputs_and_gradients(native, inputs, torch.float32), reference)
    assert error <= 1e-6, f"{name}: {error:.1e}"


@pytest.mark.parametrize("outputs_used", [0, 1, 2])
def test_each_output_alone_carries_gradients(outputs_used: int) -> None:
    gradients = []
    for operation, dtype in ((loop, torch.float64), (native, torch.float32)):
        leaves = [x.to(dtype).requires_grad_() for x in make_inputs(20, 16)]
        loss = operation(*leaves)[outputs_used].square().sum()
        gradients.append(torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True))
    for got, exact in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(got.double(), exact, rtol=0, atol=1e-6 * float(exact.abs().max()))


def test_only_some_inputs_need_gradients() -> None:
    inputs = make_inputs(20, 16)
    leaves = [x.clone().requires_grad_() for x in inputs]
    expected = torch.autograd.grad(native(*leaves)[0].sum(), leaves)[2]
    key = inputs[2].clone().requires_grad_()
    (got,) = torch.autograd.grad(native(*inputs[:2], key, *inputs[3:])[0].sum(), key)
    assert torch.equal(got, expected)


def test_any_memory_layout_gives_the_same_bits() -> None:
    def apart(x: Tensor) -> Tensor:
        return x.mT.contiguous().mT

    inputs = make_inputs(21, 32)
    leaves = [x.clone().requires_grad_() for x in inputs]
    strided = [apart(x).requires_grad_() for x in inputs]
    shifted = [torch.cat([x.new_zeros(1), x.flatten()])[1:].view_as(x).requires_grad_() for x in inputs]
    outputs = native(*leaves)
    weights = [torch.randn_like(output) for output in outputs]
    expected = torch.autograd.grad(outputs, leaves, weights)
    for other in (strided, shifted):
        got = native(*other)
        assert all(torch.equal(x, y) for x, y in zip(got, outputs, strict=True))
        gradients = torch.autograd.grad(got, other, [apart(weight) for weight in weights])
        assert all(torch.equal(x, y) for x, y in zip(gradients, expected, strict=True))


@pytest.mark.usefixtures("threads")
def test_the_same_bits_twice_and_with_any_number_of_threads() -> None:
    inputs = make_inputs(150, 64, n_batch=3)  # enough work for three threads
    results = []
    for n_threads in (1, 1, 2, 3):
        torch.set_num_threads(n_threads)
        results.append(outputs_and_gradients(native, inputs, torch.float32))
    for result in results[1:]:
        assert all(torch.equal(result[name], tensor) for name, tensor in results[0].items())


def test_a_second_backward_pass_gives_the_same_gradients() -> None:
    leaves = [x.requires_grad_() for x in make_inputs(33, 16)]
    loss = native(*leaves)[0].square().sum()
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    second = torch.autograd.grad(loss, leaves)
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_inputs_and_given_gradients_are_left_alone() -> None:
    inputs = make_inputs(33, 16)
    leaves = [x.clone().requires_grad_() for x in inputs]
    outputs = native(*leaves)
    given = [torch.ones_like(output) for output in outputs]
    torch.autograd.grad(outputs, leaves, given)
    assert all(torch.equal(x, leaf) for x, leaf in zip(inputs, leaves, strict=True))
    assert all(torch.all(gradient == 1) for gradient in given)


def test_one_token_leaves_the_given_state_alone() -> None:
    *tokens, state = make_inputs(1, 64)
    before = state.clone()
    final = native(*tokens, state)[2]
    assert torch.equal(state, before)
    assert not torch.equal(final, before)


def test_float64_goes_to_the_chunked_backend() -> None:
    inputs = [x.double() for x in make_inputs(20, 16)]
    for got, expected in zip(native(*inputs), chunked(*inputs), strict=True):
        assert got.dtype == torch.float64
        assert torch.equal(got, expected)


def test_other_head_sizes_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"no head size 24 \(allowed: 16, 32, 64, 128\)"):
        native(*make_inputs(2, 24))


@pytest.mark.slow
def test_it_is_worth_a_compiler() -> None:
    """At least fifteen times as fast as the loop, both passes, on a machine that may be busy; usually thirty."""
    leaves = [x.requires_grad_() for x in make_inputs(256, 64, n_batch=8, n_head=4)]

    def seconds(operation: partial, repeats: int) -> float:
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            y, sa, _ = operation(*leaves)
            torch.autograd.grad(y.sum() + sa.sum(), leaves)
            times.append(time.perf_counter() - start)
        return min(times)

    assert 15 * seconds(native, 10) < seconds(loop, 3)
