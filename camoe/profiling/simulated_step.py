"""One forward and backward pass over fake tensors, which have shapes and no memory: what it keeps and what it does.

It goes through few blocks of the real model: the first and one more of each kind, which all others of its kind repeat.
It runs as on a CPU and uncompiled: in place of the WKV-7 kernel for CUDA, which keeps the same tensors, the one for
CPUs is asked, and TimeMix around it is torch's own operations, as there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from camoe.config import RunConfig
from camoe.kernels.wkv7 import choose_backend
from camoe.model.as_built import as_built
from camoe.model.language_model import LanguageModel
from camoe.model.rooms import room
from camoe.model.stream import Stream
from camoe.profiling.even_load import EvenLoad
from camoe.profiling.labels import labelled
from camoe.profiling.operation_counter import OperationCounter, Operations
from camoe.profiling.representative_layers import RepresentativeLayers
from camoe.profiling.storage_tracker import StorageTracker, tensors_of
from camoe.training.objectives import Batch, compute_losses


class SimulatedStep:
    """A micro-batch of `config`, run when it is made.

    layers: which blocks ran, and how often each kind is missing. model, config: the shallow ones. kept: [L] bytes alive
    by room after each block; in no room are earlier gradients. copies: [L] bytes of the block's weights in autocast's
    type, alive until the forward pass ends. at_the_head: as kept, after the whole forward pass. peaks: [L + 1] the most
    bytes alive until the gradient reaches the last block, then in the backward pass of each block. forward, backward:
    [L] operations of each block, the embedding's with those of the first. head: those between the last block's passes.
    recurrence_seen: whether the recurrence is among the operations; its native code is not.
    """

    def __init__(self, config: RunConfig, wkv_backend: str) -> None:
        config = as_built(config, LanguageModel)  # with the widths of the deep model
        self.layers = RepresentativeLayers.of_run(config)
        self.config = self.layers.shallow(config)
        with torch.device("meta"):
            self.model = LanguageModel(self.config)
        on_cuda = wkv_backend == "cuda"
        backend = choose_backend("auto", "cpu").name if on_cuda else wkv_backend
        self.recurrence_seen = backend != "native"
        self.model.use_wkv_backend(backend, config.kernel.chunk_len)
        if on_cuda:
            _unfuse(self.model)
        self.kept: list[Counter[str]] = []
        self.copies: list[int] = []
        self.at_the_head = Counter[str]()
        self.peaks: list[int] = []
        self.forward: list[Operations] = []
        self.backward: list[Operations] = []
        self._forward_backward()
        self.head, *self.backward = self.backward
        self.backward.reverse()

    def working(self) -> int:
        """The most bytes at the head or in a block's backward pass, beside what is kept until then and gradients."""
        new_gradients = 0 if self.config.train.grad_accum > 1 else n_bytes(self.model.parameters())
        return max(self.peaks[0], max(self.peaks[1:]) - new_gradients) - self.at_the_head.total()

    def operations(self) -> Operations:
        """Of one micro-batch of the deep model."""
        total = sum([*self.forward, *self.backward], self.head)
        for kind, times in self.layers.missing.items():
            example = self.layers.example(kind)
            for operation, count in (self.forward[example] + self.backward[example]).items():
                total[operation] += times * count
        return total

    def _forward_backward(self) -> None:
        with FakeTensorMode(), EvenLoad(self.model.config), labelled(self.model):
            _make_fake(self.model)
            size = (self.config.train.micro_batch, self.config.train.ctx_len)
            batch = Batch(torch.zeros(size, dtype=torch.int64), torch.zeros(size, dtype=torch.int64))
            self.tracker = StorageTracker([*tensors_of(self.model), batch.inputs, batch.targets])
            self._counter = OperationCounter()
            with self.tracker, self._counter, self._watched_blocks():
                if self.config.train.grad_accum > 1:  # an earlier micro-batch has left its gradients
                    for parameter in self.model.parameters():
                        parameter.grad = torch.empty_like(parameter)
                    self._counter.lap()
                with room("head_loss"):
                    losses = compute_losses(self.model, batch)
                self.at_the_head = self.tracker.by_room.copy()
                losses.total.backward()
                self._end_backward()

    @contextmanager
    def _watched_blocks(self) -> Iterator[None]:
        """Look after each block's forward pass and when the gradient of its output has arrived."""

        def look(_block: nn.Module, _inputs: Any, outputs: tuple[Stream, ...]) -> None:
            if len(self.kept) < len(self.model.blocks):  # later calls compute again what was not kept
                before = self.tracker.now
                torch.clear_autocast_cache()
                self.copies.append(before - self.tracker.now)
                self.kept.append(self.tracker.by_room.copy())
                self.forward.append(self._counter.lap())
                outputs[0].x.register_hook(lambda _gradient: self._end_backward())

        handles = [block.register_forward_hook(look) for block in self.model.blocks]
        yield
        for handle in handles:
            handle.remove()

    def _end_backward(self) -> None:
        """Of the head, or of a block."""
        self.peaks.append(self.tracker.window_peak())
        self.backward.append(self._counter.lap())


def _unfuse(model: LanguageModel) -> None:
    """TimeMix as accelerators run it."""
    for block in model.blocks:
        if block.att is not None:
            block.att.fused = False  # type: ignore[union-attr]


def _make_fake(model: nn.Module) -> None:
    """Exchange the tensors of a model on the meta device for fake ones, inside a FakeTensorMode."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype))
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def n_bytes(tensors: Iterable[Tensor]) -> int:
    """Of all of them."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
