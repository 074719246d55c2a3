"""How much memory training takes, found without taking it.

One micro-batch goes forward and backward through few blocks of the real model on fake tensors, which have shapes and no
memory: the first and one more of each kind, which all others of its kind repeat. Four moments can need most:

    the forward pass   every block's activations are kept, and autocast's copies of all weights are there
    the head           every block's activations are kept, and the logits are there
    the last block     every block's activations are kept, and its own backward pass runs (after recomputing it)
    the first block    its activations are the last ones left, the gradients of all other blocks are there

What runs is the model's own code, so whatever it keeps or recomputes is what is counted. It runs as on a
CPU and uncompiled: in place of the WKV-7 kernel for CUDA, which keeps the same tensors, the one for CPUs is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from camoe.config import RunConfig
from camoe.kernels.wkv7 import choose_backend
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups, stacked_matrices
from camoe.model.rooms import room
from camoe.model.stream import Stream
from camoe.profiling.even_load import EvenLoad
from camoe.profiling.labels import labelled
from camoe.profiling.representative_layers import RepresentativeLayers
from camoe.profiling.storage_tracker import Buffer, StorageTracker, tensors_of
from camoe.training.objectives import Batch, compute_losses
from camoe.training.optimizers import matrix_of

# Two moments beside every float32 number; in 8 bits each block of 256 numbers has a float32 scale. Muon: of the rest.
MOMENTS_PER_PARAMETER = {"adamw": 2.0, "adamw8bit": 2 * (1 + 4 / 256) / 4, "muon": 2.0}


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes. activations: kept from the forward pass of one micro-batch for the backward pass, by room.

    weights: with their average, where the run keeps one.
    working: beside activations and gradients at the head or in a block's backward pass, whichever needs more. peak:
    weights, optimiser, gradients, activations and passing buffers together at the worst moment of a step, which
    `moment` names. largest: the largest single buffers. Under an even load. Left out is what torch itself occupies and
    what the allocator keeps between freed pieces: with glibc's, up to half as much again as activations.
    """

    weights: int
    optimizer: int
    gradients: int
    activations: dict[str, int]
    working: int
    peak: int
    moment: str
    largest: list[Buffer]


def estimate_memory(config: RunConfig, wkv_backend: str) -> MemoryEstimate:
    """The estimate for one optimiser step with every parameter learning; takes about a second for any size."""
    layers = RepresentativeLayers.of_run(config)
    run = _Simulation(layers.shallow(config), wkv_backend)
    run.forward_backward()
    missing_bytes, missing_copies, missing_kept = 0, 0, Counter[str]()
    optimizer = _optimizer_bytes(run.config, run.model)
    for kind, times in layers.missing.items():
        example = layers.example(kind)
        missing_bytes += times * _bytes(run.model.blocks[example].parameters())
        optimizer += times * _optimizer_bytes(run.config, run.model, f"blocks.{example}.")
        missing_copies += times * run.copies[example]
        kept = run.kept[example] - run.kept[example - 1]
        missing_kept.update({name: times * n_bytes for name, n_bytes in kept.items()})
    weights = _bytes(tensors_of(run.model)) + missing_bytes
    gradients = _bytes(run.model.parameters()) + missing_bytes
    weights += gradients if config.averaging.kind != "none" else 0
    activations = {name: run.at_the_head[name] + missing_kept[name] for name in run.at_the_head if name}
    repeated, accumulated = missing_kept.total(), missing_bytes * (config.train.grad_accum > 1)
    moments = {
        "end of the forward pass": run.kept[-1].total() + sum(run.copies) + missing_copies + repeated + accumulated,
        "head": run.peaks[0] + repeated + accumulated,
        "last block's backward pass": run.peaks[1] + repeated + accumulated,
        "first block's backward pass": max(run.peaks[1:]) + missing_bytes,
    }
    moment = max(moments, key=lambda name: moments[name])
    peak = weights + optimizer + moments[moment]
    largest = sorted(run.tracker.largest, key=lambda buffer: -buffer.n_bytes)
    return MemoryEstimate(weights, optimizer, gradients, activations, run.working(), peak, moment, largest)


class _Simulation:
    """One forward and backward pass over fake tensors.

    kept: [L] bytes alive by room after each block; in no room are earlier gradients. copies: [L] bytes of the block's
    weights in autocast's type, alive until the forward pass ends. at_the_head: as kept, after the whole forward pass.
    peaks: [L + 1] the most bytes alive until the gradient reaches the last block, then in the backward pass of each
    block.
    """

    def __init__(self, config: RunConfig, wkv_backend: str) -> None:
        self.config = config
        with torch.device("meta"):
            self.model = LanguageModel(config)
        on_cpu = choose_backend("auto", "cpu").name if wkv_backend == "cuda" else wkv_backend
        self.model.use_wkv_backend(on_cpu, config.kernel.chunk_len)
        self.kept: list[Counter[str]] = []
        self.copies: list[int] = []
        self.at_the_head = Counter[str]()
        self.peaks: list[int] = []

    def forward_backward(self) -> None:
        """Fill the fields."""
        with FakeTensorMode(), EvenLoad(self.model.config), labelled(self.model):
            _make_fake(self.model)
            size = (self.config.train.micro_batch, self.config.train.ctx_len)
            batch = Batch(torch.zeros(size, dtype=torch.int64), torch.zeros(size, dtype=torch.int64))
            self.tracker = StorageTracker([*tensors_of(self.model), batch.inputs, batch.targets])
            with self.tracker, self._watched_blocks():
                if self.config.train.grad_accum > 1:  # an earlier micro-batch has left its gradients
                    for parameter in self.model.parameters():
                        parameter.grad = torch.empty_like(parameter)
                with room("head_loss"):
                    losses = compute_losses(self.model, batch)
                self.at_the_head = self.tracker.by_room.copy()
                losses.total.backward()
                self.peaks.append(self.tracker.window_peak())

    def working(self) -> int:
        """The most bytes at the head or in a block's backward pass, beside what is kept until then and gradients."""
        new_gradients = 0 if self.config.train.grad_accum > 1 else _bytes(self.model.parameters())
        return max(self.peaks[0], max(self.peaks[1:]) - new_gradients) - self.at_the_head.total()

    @contextmanager
    def _watched_blocks(self) -> Iterator[None]:
        """Look after each block's forward pass and when the gradient of its output has arrived."""

        def look(_block: nn.Module, _inputs: Any, outputs: tuple[Stream, ...]) -> None:
            if len(self.kept) < len(self.model.blocks):  # later calls compute again what was not kept
                before = self.tracker.now
                torch.clear_autocast_cache()
                self.copies.append(before - self.tracker.now)
                self.kept.append(self.tracker.by_room.copy())
                outputs[0].x.register_hook(lambda _gradient: self.peaks.append(self.tracker.window_peak()))

        handles = [block.register_forward_hook(look) for block in self.model.blocks]
        yield
        for handle in handles:
            handle.remove()


def _make_fake(model: nn.Module) -> None:
    """Exchange the tensors of a model on the meta device for fake ones, inside a FakeTensorMode."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype))
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def _optimizer_bytes(config: RunConfig, model: LanguageModel, beginning: str = "") -> int:
    """What the optimiser keeps beside the parameters whose names begin so; Muon keeps one momentum of its matrices."""
    stacked, usual = stacked_matrices(model), MOMENTS_PER_PARAMETER[config.optimizer.kind]
    total = 0.0
    for group, parameters in parameter_groups(model).items():
        for name, parameter in parameters.items():
            if name.startswith(beginning):
                orthogonalized = matrix_of(config.optimizer, group, name, parameter, stacked) is not None
                total += _bytes([parameter]) * (1.0 if orthogonalized else usual)
    return round(total)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
