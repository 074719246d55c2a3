"""How much memory training takes, found without taking it.

One micro-batch goes forward and backward on fake tensors. Four moments can need most:

    the forward pass   every block's activations are kept, and autocast's copies of all weights are there
    the head           every block's activations are kept, and the logits are there
    the last block     every block's activations are kept, and its own backward pass runs (after recomputing it)
    the first block    its activations are the last ones left, the gradients of all other blocks are there

What runs is the model's own code (`SimulatedStep`), so whatever it keeps or recomputes is what is counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from camoe.config import RunConfig
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups, stacked_matrices
from camoe.profiling.simulated_step import SimulatedStep, n_bytes
from camoe.profiling.storage_tracker import Buffer, tensors_of
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

    @property
    def beside_state(self) -> int:
        """What a micro-batch needs beside weights, optimiser and gradients."""
        return sum(self.activations.values()) + self.working


def estimate_memory(config: RunConfig, wkv_backend: str) -> MemoryEstimate:
    """The estimate for one optimiser step with every parameter learning; takes about a second for any size."""
    return memory_of(SimulatedStep(config, wkv_backend))


def memory_of(run: SimulatedStep) -> MemoryEstimate:
    """The estimate for the deep model whose micro-batch was simulated."""
    config, layers = run.config, run.layers
    missing_bytes, missing_copies, missing_kept = 0, 0, Counter[str]()
    optimizer = _optimizer_bytes(run.config, run.model)
    for kind, times in layers.missing.items():
        example = layers.example(kind)
        missing_bytes += times * n_bytes(run.model.blocks[example].parameters())
        optimizer += times * _optimizer_bytes(run.config, run.model, f"blocks.{example}.")
        missing_copies += times * run.copies[example]
        kept = run.kept[example] - run.kept[example - 1]
        missing_kept.update({name: times * size for name, size in kept.items()})
    weights = n_bytes(tensors_of(run.model)) + missing_bytes
    gradients = n_bytes(run.model.parameters()) + missing_bytes
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


def _optimizer_bytes(config: RunConfig, model: LanguageModel, beginning: str = "") -> int:
    """What the optimiser keeps beside the parameters whose names begin so; Muon keeps one momentum of its matrices."""
    stacked, usual = stacked_matrices(model), MOMENTS_PER_PARAMETER[config.optimizer.kind]
    total = 0.0
    for group, parameters in parameter_groups(model).items():
        for name, parameter in parameters.items():
            if name.startswith(beginning):
                orthogonalized = matrix_of(config.optimizer, group, name, parameter, stacked) is not None
                total += n_bytes([parameter]) * (1.0 if orthogonalized else usual)
    return round(total)
