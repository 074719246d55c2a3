"""The estimate against a real training step, watched and measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from camoe.config import RunConfig
from camoe.kernels.wkv7 import choose_backend
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups, stacked_matrices
from camoe.model.rooms import room
from camoe.profiling import representative_layers
from camoe.profiling.labels import labelled
from camoe.profiling.memory_estimate import estimate_memory
from camoe.profiling.simulated_step import n_bytes
from camoe.profiling.storage_tracker import StorageTracker, tensors_of
from camoe.training.objectives import Batch, compute_losses
from camoe.training.optimizers import build_optimizer
from tests.small_run import small_run

ROOT = Path(__file__).resolve().parents[2]
BACKEND = choose_backend("auto", "cpu").name
ONLY_RWKV: dict[str, Any] = {"experts": {"rwkv_ffn": 4, "transformer_prefix": 0}}
ATTENTION: dict[str, Any] = {"layers": "explicit"}
COMPOSITIONS: dict[str, dict[str, Any]] = {
    "3r1t": {},
    "recomputed": {"train": {"recompute": "block"}},
    "TimeMix recomputed": {"train": {"recompute": "time_mix"}},
    "bf16": {"train": {"precision": "bf16"}},
    "attention in two of six layers": {
        "model": {"n_layer": 6, "layers": "interleave", "attention_period": 3, "attention_ratio": 1 / 3},
        "experts": {"rwkv_ffn": 4, "transformer_prefix": 0},
    },
    "bf16, recomputed": {"train": {"precision": "bf16", "recompute": "block"}},
    "one micro-batch": {"train": {"grad_accum": 1}},
    "only RWKV": ONLY_RWKV,
    "only Transformer": {"experts": {"rwkv_ffn": 0, "transformer_prefix": 4}},
    "DeepEmbedAttention": {"model": {"deep_embed_attention": True}},
    "attention": {"model": {**ATTENTION, "attention_indices": [1, 3]}, **ONLY_RWKV},
    "attention at both ends": {
        "model": {**ATTENTION, "attention_indices": [0, 4], "attention_rotary": True},
        **ONLY_RWKV,
    },
    "only attention": {"model": {**ATTENTION, "attention_indices": [0, 1, 2, 3, 4]}, **ONLY_RWKV},
}


def _run(groups: dict[str, Any], kind: str = "v21") -> RunConfig:
    model = {"n_embd": 64, "n_layer": 5, "head_size": 32, **groups.get("model", {})}
    train = {"ctx_len": 128, "micro_batch": 4, **groups.get("train", {})}
    return small_run(kind, **{**groups, "model": model, "train": train})


def _peak_of_a_real_step(config: RunConfig, *, fused: bool = True) -> int:
    """Bytes of tensors beside weights and optimiser at the worst moment of the last micro-batch."""
    model = LanguageModel(config)
    model.use_wkv_backend(BACKEND, config.kernel.chunk_len)
    for block in model.blocks:
        if block.att is not None:
            block.att.fused = fused
    tokens = torch.randint(0, 256, (config.train.micro_batch, config.train.ctx_len))
    batch = Batch(tokens, tokens)
    with StorageTracker([*tensors_of(model), tokens]) as tracker:
        for _ in range(min(2, config.train.grad_accum)):
            compute_losses(model, batch).total.backward()
    return tracker.peak


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_the_peak_is_that_of_a_real_step(name: str) -> None:
    config = _run(COMPOSITIONS[name])
    estimate = estimate_memory(config, BACKEND)
    measured = _peak_of_a_real_step(config) + estimate.weights + estimate.optimizer
    assert estimate.peak == pytest.approx(measured, rel=0.15)


def test_every_part_is_exact_where_the_load_is_even() -> None:
    """Two blocks, both of which are simulated, and a mix in which every winner keeps as much as any other."""
    config = _run({"model": {"n_layer": 2}, "train": {"grad_accum": 1}, "optimizer": {"kind": "muon"}, **ONLY_RWKV})
    estimate, model = estimate_memory(config, BACKEND), LanguageModel(config)
    model.use_wkv_backend(BACKEND, config.kernel.chunk_len)
    stacked = stacked_matrices(model)
    optimizer = build_optimizer(config.optimizer, parameter_groups(model), "cpu", stacked=stacked)
    tokens = torch.randint(0, 256, (config.train.micro_batch, config.train.ctx_len))
    with StorageTracker([*tensors_of(model), tokens]) as tracker, labelled(model):
        with room("head_loss"):
            losses = compute_losses(model, Batch(tokens, tokens))
        kept = {name: size for name, size in tracker.by_room.items() if name and size}
        losses.total.backward()
    optimizer.step()
    moments = [tensor for state in optimizer.state.values() for tensor in state.values() if tensor.dim()]
    assert estimate.weights == n_bytes(tensors_of(model))
    assert estimate.gradients == n_bytes(p.grad for p in model.parameters() if p.grad is not None)
    assert estimate.optimizer == n_bytes(moments)
    assert {name: size for name, size in estimate.activations.items() if size} == kept


@pytest.mark.parametrize("name", ["3r1t", "recomputed", "one micro-batch", "attention at both ends"])
def test_few_blocks_tell_what_five_need(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _run(COMPOSITIONS[name])
    few = estimate_memory(config, BACKEND)
    monkeypatch.setattr(representative_layers, "OF_EACH_KIND", 4)
    five = estimate_memory(config, BACKEND)
    assert few.peak == pytest.approx(five.peak, rel=0.03)
    assert few.gradients == pytest.approx(five.gradients, rel=0.03)  # layer 0 has no value residual
    assert sum(few.activations.values()) == pytest.approx(sum(five.activations.values()), rel=0.05)


def test_a_single_block_without_an_economy() -> None:
    estimate = estimate_memory(_run({"model": {"n_layer": 1}}, kind="off"), BACKEND)
    assert "critic" not in estimate.activations
    assert estimate.peak > estimate.weights + estimate.optimizer + estimate.gradients


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_optimizer_is_as_large_as_its_state(kind: str) -> None:
    config = _run({"optimizer": {"kind": kind}})
    model = LanguageModel(config)
    stacked = stacked_matrices(model)
    optimizer = build_optimizer(config.optimizer, parameter_groups(model), "cpu", stacked=stacked)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    states = [tensor for state in optimizer.state.values() for tensor in state.values() if tensor.dim()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in states)
    assert estimate_memory(config, BACKEND).optimizer == pytest.approx(size, rel=0.01)  # layer 0 has no value residual


def test_a_cuda_kernel_needs_no_cuda_device_here() -> None:
    config = _run({})
    estimate = estimate_memory(config, "cuda")
    measured = _peak_of_a_real_step(config, fused=False) + estimate.weights + estimate.optimizer
    assert estimate.peak == pytest.approx(measured, rel=0.15)
    assert estimate.peak > 1.1 * estimate_memory(config, BACKEND).peak  # TimeMix around it is not one operation there


def test_recomputing_keeps_less() -> None:
    everything, less = (estimate_memory(_run(COMPOSITIONS[name]), BACKEND) for name in ("3r1t", "recomputed"))
    assert 5 * sum(less.activations.values()) < sum(everything.activations.values())


MEASURE = """
import sys
import torch
from tests.profiling.test_memory_estimate import BACKEND, _peak_of_a_real_step, _run
from camoe.profiling.memory_estimate import estimate_memory
from camoe.tracking.resident_memory import resident_peak
config = _run({"model": {"n_embd": 128}, "train": {"ctx_len": int(sys.argv[1]), "micro_batch": 8}})
_peak_of_a_real_step(config)
estimate = estimate_memory(config, BACKEND)
print(resident_peak(), estimate.peak - estimate.weights - estimate.optimizer)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the environment speaks to glibc")
def test_the_process_grows_by_the_estimate() -> None:
    """Within a tenth, from a short context to a long one, where the allocator gives back what is freed.

    glibc's usual one keeps small pieces between what is freed, and the process takes up to half as much again.
    """
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}

    def measure(ctx_len: int) -> list[int]:
        command = [sys.executable, "-c", MEASURE, str(ctx_len)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=True
        )
        return [int(word) for word in done.stdout.split()]

    (short, short_estimate), (long, long_estimate) = measure(64), measure(512)
    assert long - short == pytest.approx(long_estimate - short_estimate, rel=0.1)
