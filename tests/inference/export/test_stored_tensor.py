"""One tensor to bytes and back, whatever its shape and numbers."""

from __future__ import annotations

import pytest
import torch

from camoe.inference.export.stored_tensor import StoredTensor

SHAPES = [(5, 7), (3, 5, 9), (1, 12), (8, 1)]


@pytest.mark.parametrize("bits", [4, 5, 6, 8])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", ["packed", "bytes"])
def test_a_quantised_tensor_is_near(layout: str, shape: tuple[int, ...], bits: int) -> None:
    tensor = torch.rand(shape, generator=torch.Generator().manual_seed(1)) - 0.5
    stored = StoredTensor("w", "experts", shape, f"int{bits}", bits)
    content = stored.encoded(stored.rounded(tensor), layout)
    assert len(content) == stored.n_bytes(layout)
    again = stored.decoded(content, layout)
    assert (again.shape, again.dtype) == (tensor.shape, torch.float32)
    assert (again - tensor).abs().max() < 0.6 / 2 ** (bits - 1)


@pytest.mark.parametrize("shape", [(), (5,), *SHAPES])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.bool])
def test_an_exact_tensor_keeps_every_bit(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = (100 * torch.randn(shape)).to(dtype)
    stored = StoredTensor("w", "state", shape, str(dtype).removeprefix("torch."))
    content = stored.encoded(stored.rounded(tensor), "packed")
    assert len(content) == stored.n_bytes("packed")
    again = stored.decoded(content, "packed")
    assert again.dtype == dtype
    assert torch.equal(again, tensor)


def test_experts_of_a_stack_do_not_share_scales() -> None:
    """A loud expert would cost a quiet one its bits."""
    stack = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0))
    stored = StoredTensor("w", "experts", (2, 4, 16), "int6", 6)
    quiet = stored.rounded(stack)
    stack[1] *= 1e6
    both = stored.rounded(stack)
    assert torch.equal(both.weights()[:4], quiet.weights()[:4])
    assert not torch.equal(both.weights()[4:], quiet.weights()[4:])
