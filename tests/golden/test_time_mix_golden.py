"""TimeMix against recorded outputs, intermediates, carried state and gradients of the official layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from camoe.kernels.wkv7 import CPU_BACKENDS
from camoe.model.time_mix import LowRanks, TimeMix
from tests.golden.closeness import assert_close

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
PROJECTIONS = ("r", "w", "k", "v", "a", "g", "kk")

Arrays = dict[str, np.ndarray]


class Case:
    """A recorded layer rebuilt in one dtype on one backend."""

    def __init__(self, arrays: Arrays, dtype: torch.dtype, backend: str) -> None:
        self.arrays, self.dtype = arrays, dtype
        layer, n_embd = int(arrays["layer_id"]), arrays["x"].shape[-1]
        ranks = {letter: arrays[f"p.{letter}1"].shape[1] if f"p.{letter}1" in arrays else 1 for letter in "wavg"}
        self.layer = TimeMix(n_embd, int(arrays["head_size"]), layer, layer + 1, LowRanks(**ranks)).to(dtype)
        weights = {name[2:]: torch.from_numpy(value) for name, value in arrays.items() if name.startswith("p.")}
        self.layer.load_state_dict(weights, strict=True)
        self.layer.backend = backend
        self.x = self.tensor("x").requires_grad_()
        self.v_first = self.tensor("v_first_in").requires_grad_() if layer > 0 else None

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name]).to(self.dtype)

    def check(self, got: Tensor, name: str) -> None:
        assert_close(got, self.arrays[name], name, TOLERANCE)


@pytest.fixture(params=TOLERANCE, ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    chosen: torch.dtype = request.param
    return chosen


@pytest.fixture(params=CPU_BACKENDS)
def rebuild(
    tmix_file: Path, read_golden: Callable[[Path], Arrays], dtype: torch.dtype, request: pytest.FixtureRequest
) -> Callable[[], Case]:
    """Reads the file when called, so that a bad file fails the test itself."""
    return lambda: Case(read_golden(tmix_file), dtype, request.param)


def test_outputs_and_intermediates(rebuild: Callable[[], Case]) -> None:
    case = rebuild()
    result = case.layer(case.x, case.v_first)
    projections, _ = case.layer.project(case.x, case.v_first, None)
    for name in PROJECTIONS:
        case.check(getattr(projections, name), name)
    case.check(result.readout, "sa")
    case.check(result.v_first, "v_first")
    case.check(result.out, "out")
    case.check(result.wkv_state, "s_final")
    case.check(result.time_shift, "x_last")


def test_continuing_from_a_carried_state(rebuild: Callable[[], Case]) -> None:
    case = rebuild()
    result = case.layer(case.x, case.v_first, case.tensor("carry_x_prev"), case.tensor("carry_s0"))
    case.check(result.out, "carry_out")
    case.check(result.wkv_state, "carry_s_final")
    case.check(result.time_shift, "carry_x_last")


def test_gradients(rebuild: Callable[[], Case]) -> None:
    case = rebuild()
    result = case.layer(case.x, case.v_first)
    (result.out * case.tensor("c")).sum().backward()
    assert case.x.grad is not None
    case.check(case.x.grad, "g_x")
    if case.v_first is not None:
        assert case.v_first.grad is not None
        case.check(case.v_first.grad, "g_v_first")
    for name, parameter in case.layer.named_parameters():
        assert parameter.grad is not None, name
        case.check(parameter.grad, f"g_p.{name}")
