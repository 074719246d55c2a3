"""Every WKV-7 backend against recorded outputs and gradients of the plain float64 loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from camoe.kernels.wkv7 import wkv7
from camoe.model.time_mix import decay_factor
from tests.golden.closeness import assert_close
from tests.kernels.wkv7_cases import EVERY_BACKEND

INPUTS = ("r", "w", "k", "v", "a", "b")
OUTPUTS = ("y", "sa", "s_final")
# Largest error allowed, as a share of the largest magnitude of the recorded array.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}

Arrays = dict[str, np.ndarray]


@pytest.fixture(params=TOLERANCE, ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    chosen: torch.dtype = request.param
    return chosen


def leaves(arrays: Arrays, names: tuple[str, ...], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: torch.from_numpy(arrays[name]).to(dtype).requires_grad_() for name in names}


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_outputs_and_gradients(
    wkv7_file: Path, read_golden: Callable[[Path], Arrays], dtype: torch.dtype, backend: str
) -> None:
    arrays = read_golden(wkv7_file)
    inputs = leaves(arrays, (*INPUTS, "s0"), dtype)
    outputs = dict(zip(OUTPUTS, wkv7(*inputs.values(), backend=backend), strict=True))
    for name, output in outputs.items():
        assert_close(output, arrays[name], name, TOLERANCE)
    weights = {
        name: torch.from_numpy(arrays[c]).to(dtype) for name, c in zip(OUTPUTS, ("c", "c_sa", "c_state"), strict=True)
    }
    loss_of_y = (outputs["y"] * weights["y"]).sum()
    loss_of_all = sum((outputs[name] * weights[name]).sum() for name in OUTPUTS)
    for prefix, loss in (("g", loss_of_y), ("g2", loss_of_all)):
        gradients = torch.autograd.grad(loss, list(inputs.values()), retain_graph=True)
        for name, gradient in zip(inputs, gradients, strict=True):
            assert_close(gradient, arrays[f"{prefix}_{name}"], f"{prefix}_{name}", TOLERANCE)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_a_carried_state_continues_the_sequence(
    wkv7_file: Path, read_golden: Callable[[Path], Arrays], dtype: torch.dtype, backend: str
) -> None:
    arrays = read_golden(wkv7_file)
    inputs = [torch.from_numpy(arrays[name]).to(dtype) for name in INPUTS]
    middle, n_tokens = int(arrays["t_mid"]), arrays["r"].shape[1]
    state = torch.from_numpy(arrays["s0"]).to(dtype)
    if middle:
        y, _, state = wkv7(*(x[:, :middle] for x in inputs), state, backend=backend)
        assert_close(y, arrays["y"][:, :middle], "y of the first half", TOLERANCE)
    assert_close(state, arrays["s_mid"], "s_mid", TOLERANCE)
    if middle < n_tokens:
        y, _, state = wkv7(*(x[:, middle:] for x in inputs), state, backend=backend)
        assert_close(y, arrays["y"][:, middle:], "y of the second half", TOLERANCE)
    assert_close(state, arrays["s_final"], "s_final", TOLERANCE)


def test_the_decay_transform(wkv7_file: Path, read_golden: Callable[[Path], Arrays]) -> None:
    """`w` was rounded to float32 when it was recorded, so the two may differ by half a unit in the last place."""
    arrays = read_golden(wkv7_file)
    w = decay_factor(torch.from_numpy(arrays["z"]))
    np.testing.assert_allclose(w.numpy(), arrays["w"], rtol=2.0**-24, atol=0)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_gradients_through_the_decay_transform(
    wkv7_file: Path, read_golden: Callable[[Path], Arrays], dtype: torch.dtype, backend: str
) -> None:
    arrays = read_golden(wkv7_file)
    inputs = leaves(arrays, ("r", "z", "k", "v", "a", "b", "s0"), dtype)
    r, z, k, v, a, b, s0 = inputs.values()
    # The recorded decay, with the transform's own gradient: the recording rounded the decay and nothing else.
    w = decay_factor(z)
    w = w + (torch.from_numpy(arrays["w"]).to(dtype) - w).detach()
    outputs = wkv7(r, w, k, v, a, b, s0, backend=backend)
    weights = [torch.from_numpy(arrays[name]).to(dtype) for name in ("c", "c_sa", "c_state")]
    loss_of_y = (outputs[0] * weights[0]).sum()
    loss_of_all = sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))
    for name, loss in (("g_z", loss_of_y), ("g2_z", loss_of_all)):
        (gradient,) = torch.autograd.grad(loss, z, retain_graph=True)
        assert_close(gradient, arrays[name], name, TOLERANCE)
