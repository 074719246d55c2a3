"""The public operation: choosing a backend, state in and out, dtypes, refusals."""

from __future__ import annotations

import pytest
import torch

from camoe.config import ConfigError
from camoe.kernels.wkv7 import BACKENDS, choose_backend, wkv7
from tests.kernels.wkv7_cases import EVERY_BACKEND, make_inputs


def test_auto_names_its_choice_and_why() -> None:
    choice = choose_backend("auto", "cpu")
    assert choice.name in BACKENDS
    assert "cpu" in choice.reason
    assert choose_backend("reference", "cpu").name == "reference"


def test_an_unknown_backend_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"kernel\.wkv: no backend 'chunkd'; did you mean chunked"):
        choose_backend("chunkd", "cpu")
    with pytest.raises(ConfigError, match="no backend 'auto'"):
        wkv7(*make_inputs(2, 16), backend="auto")


@pytest.mark.parametrize("chunk_len", [0, 65])
def test_chunk_lengths_outside_the_safe_range_are_refused(chunk_len: int) -> None:
    with pytest.raises(ConfigError, match=r"kernel\.chunk_len"):
        wkv7(*make_inputs(2, 16), chunk_len=chunk_len)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
@pytest.mark.parametrize("pieces", [[1, 30], [16, 15], [7, 1, 23], [1] * 31])
def test_pieces_with_a_carried_state_equal_the_whole(backend: str, pieces: list[int]) -> None:
    *tokens, state = (tensor.double() for tensor in make_inputs(31, 16))
    whole = wkv7(*tokens, state, backend=backend)
    outputs, readouts = [], []
    for piece in zip(*(tensor.split(pieces, 1) for tensor in tokens), strict=True):
        y, sa, state = wkv7(*piece, state, backend=backend)
        outputs.append(y)
        readouts.append(sa)
    for got, expected in zip((torch.cat(outputs, 1), torch.cat(readouts, 1), state), whole, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_no_state_is_the_zero_state(backend: str) -> None:
    *tokens, state = make_inputs(9, 16)
    for got, expected in zip(
        wkv7(*tokens, backend=backend), wkv7(*tokens, torch.zeros_like(state), backend=backend), strict=True
    ):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_bf16_inputs_are_computed_in_float32(backend: str) -> None:
    *tokens, state = make_inputs(40, 16)
    rounded = [tensor.bfloat16() for tensor in tokens]
    y, sa, final = wkv7(*rounded, state, backend=backend)
    exact = wkv7(*(tensor.float() for tensor in rounded), state, backend=backend)
    assert (y.dtype, sa.dtype, final.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    assert torch.equal(y, exact[0].bfloat16())
    assert torch.equal(final, exact[2])


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_autocast_changes_nothing(backend: str) -> None:
    inputs = [tensor.requires_grad_() for tensor in make_inputs(24, 16)]
    plain = wkv7(*inputs, backend=backend)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = wkv7(*inputs, backend=backend)[0]
    assert torch.equal(plain, cast)
    expected = torch.autograd.grad(plain.square().sum(), inputs)
    got = torch.autograd.grad(cast.square().sum(), inputs)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_the_chunked_backward_pass_ignores_autocast_too() -> None:
    inputs = [tensor.requires_grad_() for tensor in make_inputs(24, 16)]
    loss = wkv7(*inputs)[0].square().sum()
    expected = torch.autograd.grad(loss, inputs, retain_graph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = torch.autograd.grad(loss, inputs)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_shapes_that_would_broadcast_are_refused() -> None:
    *tokens, state = make_inputs(4, 16)
    with pytest.raises(ValueError, match="must share one shape"):
        wkv7(*tokens, state[:1])
    with pytest.raises(ValueError, match="must share one shape"):
        wkv7(tokens[0][:, :1], *tokens[1:], state)
    with pytest.raises(ValueError, match="T >= 1"):
        wkv7(*(tensor[:, :0] for tensor in tokens), state)
