"""The RWKV expert against recorded outputs and gradients of the official channel mix, with and without token shift."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from camoe.model.experts.expert import ExpertContext
from camoe.model.experts.rwkv_ffn import RwkvFeedForward
from camoe.model.recurrent_state import previous_tokens
from tests.golden.closeness import assert_close

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}

Arrays = dict[str, np.ndarray]


@pytest.fixture(params=TOLERANCE, ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    chosen: torch.dtype = request.param
    return chosen


def rebuilt(arrays: Arrays, dtype: torch.dtype, *, token_shift: bool) -> RwkvFeedForward:
    hidden, n_embd = arrays["p.key.weight"].shape
    expert = RwkvFeedForward(n_embd, hidden, layer_id=0, n_layer=1, token_shift=token_shift).to(dtype)
    names = ("x_k", "key.weight", "value.weight") if token_shift else ("key.weight", "value.weight")
    expert.load_state_dict({name: torch.from_numpy(arrays[f"p.{name}"]) for name in names}, strict=True)
    return expert


def run(expert: RwkvFeedForward, x: Tensor, last: Tensor | None) -> Tensor:
    """The expert serving every token of x [B,T,C]."""
    context = ExpertContext(previous_tokens(x, last).flatten(0, 1))
    return expert(x.flatten(0, 1), context).view_as(x)


def test_outputs(cmix_file: Path, read_golden: Callable[[Path], Arrays], dtype: torch.dtype) -> None:
    arrays = read_golden(cmix_file)
    x, last = (torch.from_numpy(arrays[name]).to(dtype) for name in ("x", "x_prev"))
    shifting = rebuilt(arrays, dtype, token_shift=True)
    assert_close(run(shifting, x, None), arrays["out"], "out", TOLERANCE)
    assert_close(run(shifting, x, last), arrays["out_carry"], "out_carry", TOLERANCE)
    still = rebuilt(arrays, dtype, token_shift=False)
    assert_close(run(still, x, last), arrays["out_no_shift"], "out_no_shift", TOLERANCE)


def test_gradients(cmix_file: Path, read_golden: Callable[[Path], Arrays], dtype: torch.dtype) -> None:
    arrays = read_golden(cmix_file)
    expert = rebuilt(arrays, dtype, token_shift=True)
    x = torch.from_numpy(arrays["x"]).to(dtype).requires_grad_()
    (run(expert, x, None) * torch.from_numpy(arrays["c"]).to(dtype)).sum().backward()
    assert x.grad is not None
    assert_close(x.grad, arrays["g_x"], "g_x", TOLERANCE)
    for name, parameter in expert.named_parameters():
        assert parameter.grad is not None, name
        assert_close(parameter.grad, arrays[f"g_p.{name}"], name, TOLERANCE)
