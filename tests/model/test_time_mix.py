"""Time mixing: every way of reading a sequence agrees; official names; the state is read with gradients."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from camoe.kernels.wkv7 import CPU_BACKENDS
from camoe.model.time_mix import LowRanks, TimeMix, TimeMixOutput, decay_factor
from tests.kernels.wkv7_cases import EVERY_BACKEND

C, N, L = 32, 16, 3
WEIGHTS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rwkv7_weights"

OFFICIAL_NAMES = {
    *("x_r", "x_w", "x_k", "x_v", "x_a", "x_g", "w0", "w1", "w2", "a0", "a1", "a2", "g1", "g2", "k_k", "k_a", "r_k"),
    *("receptance.weight", "key.weight", "value.weight", "output.weight", "ln_x.weight", "ln_x.bias"),
}


def awake(layer_id: int, dtype: torch.dtype = torch.float64) -> TimeMix:
    """A layer whose every parameter matters, as after training."""
    torch.manual_seed(layer_id)
    layer = TimeMix(C, N, layer_id, L)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return layer.to(dtype)


def inputs(n_tokens: int = 21, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    x, v_first = torch.randn(2, 2, n_tokens, C, generator=generator, dtype=torch.float64).to(dtype)
    return x, v_first


@pytest.mark.parametrize("layer_id", [0, 1])
def test_official_parameter_names(layer_id: int) -> None:
    names = {name for name, _ in TimeMix(C, N, layer_id, L).named_parameters()}
    assert names == OFFICIAL_NAMES | ({"v0", "v1", "v2"} if layer_id else set())


@pytest.mark.parametrize("backend", EVERY_BACKEND)
@pytest.mark.parametrize("layer_id", [0, 2])
@pytest.mark.parametrize("pieces", [[1] * 21, [20, 1], [5, 16]])
def test_full_pass_chunks_and_single_tokens_agree(backend: str, layer_id: int, pieces: list[int]) -> None:
    layer = awake(layer_id)
    layer.backend = backend
    x, v_first = inputs()
    whole = layer(x, v_first)
    shift, state, parts = None, None, []
    for x_part, v_part in zip(x.split(pieces, 1), v_first.split(pieces, 1), strict=True):
        part = layer(x_part, v_part, shift, state)
        shift, state = part.time_shift, part.wkv_state
        parts.append(part)
    for name in ("out", "readout", "v_first"):
        joined = torch.cat([getattr(part, name) for part in parts], 1)
        torch.testing.assert_close(joined, getattr(whole, name), rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(state, whole.wkv_state, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(shift, x[:, -1])


def test_backends_agree() -> None:
    results: list[TimeMixOutput] = []
    for backend in CPU_BACKENDS:
        layer = awake(1)
        layer.backend = backend
        results.append(layer(*inputs()))
    torch.testing.assert_close(results[0].out, results[1].out, rtol=1e-10, atol=1e-11)


def test_no_token_sees_the_future() -> None:
    layer = awake(1)
    x, v_first = inputs()
    changed = x.clone()
    changed[:, 12:] += 1
    before, after = layer(x, v_first), layer(changed, v_first)
    assert torch.equal(before.out[:, :12], after.out[:, :12])
    assert not torch.allclose(before.out[:, 12:], after.out[:, 12:])


def test_layer_zero_makes_the_first_values_and_others_pass_them_on() -> None:
    x, v_first = inputs()
    first = awake(0)
    torch.testing.assert_close(first(x, None).v_first, first.project(x, None, None)[0].v)
    assert awake(1)(x, v_first).v_first is v_first
    with pytest.raises(AssertionError, match="layers after the first"):
        awake(1)(x, None)


def test_the_lowest_time_mix_of_a_schedule_makes_the_first_values() -> None:
    x, _ = inputs()
    lowest = TimeMix(C, N, 1, L, first_layer=1).double()
    assert not {"v0", "v1", "v2"} & dict(lowest.named_parameters()).keys()
    torch.testing.assert_close(lowest(x, None).v_first, lowest.project(x, None, None)[0].v)


def test_the_readout_carries_gradients_to_state_and_parameters() -> None:
    layer = awake(1)
    x, v_first = inputs()
    state = torch.randn(2, C // N, N, N, dtype=torch.float64, requires_grad=True)
    layer(x, v_first, None, state).readout.square().sum().backward()
    assert state.grad is not None
    assert float(state.grad.abs().max()) > 0
    assert layer.w0.grad is not None
    assert float(layer.w0.grad.abs().max()) > 0
    # What reads y has no part in the readout.
    assert layer.receptance.weight.grad is None or torch.all(layer.receptance.weight.grad == 0)


def test_a_fresh_layer_adds_nothing_and_learns_at_once() -> None:
    layer = TimeMix(C, N, 1, L)
    x, v_first = inputs(dtype=torch.float32)
    out = layer(x, v_first).out
    assert torch.all(out == 0)
    (out * torch.randn_like(out)).sum().backward()
    assert layer.output.weight.grad is not None
    assert float(layer.output.weight.grad.abs().max()) > 0


def test_the_decay_is_transformed_once() -> None:
    z = torch.tensor([-1e9, 0.0, 1e9], dtype=torch.float64)
    expected = torch.tensor([1.0, math.exp(-0.5 * math.exp(-0.5)), math.exp(-math.exp(-0.5))], dtype=torch.float64)
    torch.testing.assert_close(decay_factor(z), expected)
    assert decay_factor(z.bfloat16()).dtype == torch.float32


def test_bf16_and_autocast_stay_near_float32() -> None:
    layer = awake(1, torch.float32)
    x, v_first = inputs(dtype=torch.float32)
    exact = layer(x, v_first)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = layer(x, v_first)
    half = awake(1, torch.bfloat16)(x.bfloat16(), v_first.bfloat16())
    for result in (cast, half):
        assert result.wkv_state.dtype == torch.float32
        error = (result.out.float() - exact.out).norm() / exact.out.norm()
        assert error < 0.05


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="the RWKV-7 test weights are not beside this checkout")
@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_an_official_checkpoint_gives_its_published_logits(backend: str) -> None:
    """12 layers of official names and shapes, channel mixing written out: bytes in, 256 published logits out."""
    from safetensors.torch import load_file

    weights = load_file(WEIGHTS / "tiny_rwkv7_834k.safetensors")
    expected = json.loads((WEIGHTS / "tiny_rwkv7_834k_expected.json").read_text())
    tokens = torch.tensor([expected["prompt_bytes"]])

    def norm(x: Tensor, name: str) -> Tensor:
        return torch.nn.functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])

    x, v_first = norm(weights["emb.weight"][tokens], "blocks.0.ln0"), None
    for i in range(12):
        block = f"blocks.{i}."
        layer = TimeMix(64, 64, i, 12, LowRanks.official(64))
        layer.backend = backend
        prefix = f"{block}att."
        layer.load_state_dict({k.removeprefix(prefix): w for k, w in weights.items() if k.startswith(prefix)})
        mixed = layer(norm(x, f"{block}ln1"), v_first)
        x, v_first = x + mixed.out, mixed.v_first
        h = norm(x, f"{block}ln2")
        shifted = h + (torch.nn.functional.pad(h, (0, 0, 1, -1)) - h) * weights[f"{block}ffn.x_k"].view(1, 1, -1)
        hidden = torch.relu(shifted @ weights[f"{block}ffn.key.weight"].T).square()
        x = x + hidden @ weights[f"{block}ffn.value.weight"].T
    logits = norm(x, "ln_out")[0, -1] @ weights["head.weight"].T
    torch.testing.assert_close(logits, torch.tensor(expected["logits_after_last_byte"]), rtol=0, atol=1e-5)
