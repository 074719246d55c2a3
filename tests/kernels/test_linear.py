"""One float32 row goes through native code, everything else through torch; both give the same numbers."""

from __future__ import annotations

import pytest
import torch

from camoe.kernels import linear as module
from camoe.kernels.linear import Linear, linear
from camoe.kernels.native_build import load

needs_native = pytest.mark.skipif(load(module.SOURCE).library is None, reason=load(module.SOURCE).reason)


@pytest.fixture(autouse=True)
def _small_is_worthwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORTHWHILE", 1)


@pytest.fixture
def native_calls(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The problems that native code is given from here on."""
    calls: list[bytes] = []
    native = module._native()
    assert native is not None

    def noted(problem: bytes) -> None:
        calls.append(problem)
        native(problem)

    monkeypatch.setattr(module, "_native", lambda: noted)
    return calls


@needs_native
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("columns", [1, 3, 16, 63, 64, 65, 257, 1024])
@pytest.mark.parametrize("rows", [1, 5, 64])
def test_one_row_is_the_product(rows: int, columns: int, biased: bool, native_calls: list[bytes]) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(*shape, generator=generator) for shape in ((1, 1, columns), (rows, columns)))
    bias = torch.randn(rows, generator=generator) if biased else None
    with torch.no_grad():
        found = linear(x, weight, bias)
    exact = torch.nn.functional.linear(x.double(), weight.double(), None if bias is None else bias.double())
    assert len(native_calls) == 1
    assert found.shape == (1, 1, rows)
    size = x.norm() * weight.norm(dim=1).max() + 1
    assert float((found - exact).abs().max()) <= 2e-7 * float(size)


@needs_native
def test_the_number_of_threads_changes_no_bit(native_calls: list[bytes]) -> None:
    """Large enough for three threads, and not divisible by their number."""
    before = torch.get_num_threads()
    x, weight = torch.randn(64), torch.randn(3 * 2**14 + 1, 64)
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                results.append(linear(x, weight))
    finally:
        torch.set_num_threads(before)
    assert len(native_calls) == 3
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@needs_native
def test_views_are_read_as_they_are(native_calls: list[bytes]) -> None:
    wide = torch.randn(2, 40, 30)
    x, weight = wide[1:, :1, ::2], wide[0, :20, 10:25].contiguous()
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight), x @ weight.T)
    assert len(native_calls) == 1


@needs_native
@pytest.mark.parametrize(
    "case", ["two rows", "small", "float64", "bfloat16", "a strided matrix", "gradients", "autocast"]
)
def test_everything_else_is_left_to_torch(
    case: str, native_calls: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORTHWHILE", 8 * 24 + (case == "small"))
    dtype = {"float64": torch.float64, "bfloat16": torch.bfloat16}.get(case, torch.float32)
    x, weight = torch.randn(2 if case == "two rows" else 1, 24, dtype=dtype), torch.randn(8, 24, dtype=dtype)
    if case == "a strided matrix":
        weight = torch.randn(24, 8).T
    with torch.set_grad_enabled(case == "gradients"), torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        found, expected = linear(x, weight), torch.nn.functional.linear(x, weight)
    assert not native_calls
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


@pytest.mark.parametrize("biased", [True, False])
def test_without_a_compiler_torch_does_all(biased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Linear(24, 8, bias=biased), torch.randn(1, 24)
    with torch.no_grad():
        native = layer(x)
        monkeypatch.setattr(module, "_native", lambda: None)
        torch.testing.assert_close(layer(x), native)
    assert layer(x).requires_grad


def test_a_row_of_another_width_is_refused() -> None:
    with torch.no_grad(), pytest.raises(RuntimeError, match="shape"):
        linear(torch.randn(1, 23), torch.randn(8, 24))
