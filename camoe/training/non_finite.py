"""Finding the first tensor of an optimiser step that is not finite.

Module inputs and outputs are looked at as they are made, then the loss terms, then gradients at module boundaries and
of parameters as the backward pass makes them, and the model's state before and after. Inside native code nothing can be
seen: what goes wrong there shows at the boundary of the module that calls it. Nothing is hooked outside `watching`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from camoe.model.language_model import LanguageModel
from camoe.model.recurrent_state import LayerState
from camoe.model.rooms import room_modules
from camoe.model.routing_trace import LayerRouting
from camoe.model.time_mix import TimeMixOutput
from camoe.routing.decision import RoutingDecision
from camoe.training.objectives import Losses

LOOKED_INTO = (TimeMixOutput, LayerRouting, LayerState)
PASSAGE = "_camoe_passage"
MADE_BY_ROUTERS = ("weights", "gate_logits")  # bids may be -inf where nobody can be elected


@dataclass(frozen=True)
class Finding:
    """The first tensor that is not finite.

    step: counted from 1. stage: state, forward, loss, backward or update. layer: None outside the blocks.
    finite_share: of its numbers; minimum, maximum, mean: of the finite ones, None without any. first_at: index.
    """

    step: int
    stage: str
    tensor: str
    layer: int | None
    room: str
    shape: tuple[int, ...]
    first_at: tuple[int, ...]
    finite_share: float
    minimum: float | None
    maximum: float | None
    mean: float | None

    @classmethod
    def of(cls, value: Tensor, step: int, stage: str, tensor: str, room: str, owner: str) -> Finding:
        """Measure a tensor that is not finite; `owner`: the module or parameter that tells the layer."""
        good = value.isfinite()
        finite = value[good].double()
        layer = re.match(r"blocks\.(\d+)\.", owner + ".")
        numbers = (finite.min(), finite.max(), finite.mean()) if finite.numel() else (None, None, None)
        return cls(
            step,
            stage,
            tensor,
            int(layer[1]) if layer else None,
            room,
            tuple(value.shape),
            tuple((~good).nonzero()[0].tolist()),
            finite.numel() / value.numel(),
            *(None if number is None else float(number) for number in numbers),
        )

    def __str__(self) -> str:
        """One line."""
        place = f"layer {self.layer}, " if self.layer is not None else ""
        rest = f" from {self.minimum:.4g} to {self.maximum:.4g}, mean {self.mean:.4g}" if self.finite_share else ""
        return (
            f"step {self.step}, {self.stage}: {self.tensor} ({place}room {self.room or 'none'}), shape "
            f"{list(self.shape)}, not finite from index {list(self.first_at)} on, finite {self.finite_share:.2%}{rest}"
        )


class NonFiniteTensor(RuntimeError):
    """A tensor is not finite; `finding` says which."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


@dataclass
class Passage:
    """A tensor between modules, by the name of the one that made it, and those that read it."""

    made_by: str
    readers: list[str]

    @property
    def owner(self) -> str:
        """Whose backward pass makes its gradient."""
        return self.readers[0] if self.readers else self.made_by

    def __str__(self) -> str:
        """What to call its gradient."""
        what = f"gradient of output of {self.made_by}" if self.made_by else f"gradient of input of {self.readers[0]}"
        return f"{what} (read by {', '.join(self.readers)})" if self.made_by and self.readers else what


class NonFiniteWatch:
    """Looks at every tensor it can see of the steps inside `watching`; raises NonFiniteTensor for the first bad one."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self._step = 0
        self._rooms = {sub: room for room, part in room_modules(model) for sub in part.modules()}

    @contextmanager
    def watching(self, step: int) -> Iterator[None]:
        """Inside, the model runs optimiser step `step`, counted from 1; its state is checked before and after."""
        self._step = step
        self._state("state")
        handles = [*self._hooks()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        self._state("update")

    def losses(self, losses: Losses) -> None:
        """The terms of a micro-batch, before its backward pass."""
        for term in losses.terms:
            self._check(term.mean, "loss", f"loss term {term.name}", "head_loss", "")

    def gradients(self) -> None:
        """The sums of gradients over all micro-batches, before they are clipped, and their norm."""
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None:
                self._check(parameter.grad, "backward", f"gradient of {name}, summed", self._room_of(name), name)
        norms = [p.grad.norm() for p in self.model.parameters() if p.grad is not None]
        if norms:
            self._check(torch.stack(norms).norm(), "backward", "gradient norm", "gradient_norm", "")

    def _hooks(self) -> Iterator[RemovableHandle]:
        for name, module in self.model.named_modules():
            if name:
                yield module.register_forward_pre_hook(partial(self._before, name))
                yield module.register_forward_hook(partial(self._after, name))
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                yield parameter.register_hook(partial(self._parameter_gradient, name))

    def _before(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """What is made between modules, such as residual sums, shows here."""
        for label, value in _tensors(inputs, ""):
            self._check(value, "forward", f"input{label} of {name}", self._rooms.get(module, ""), name)
            self._passage(value, "").readers.append(name)

    def _after(self, name: str, module: nn.Module, _inputs: Any, output: Any) -> None:
        for label, value in _tensors(output, ""):
            self._check(value, "forward", f"output{label} of {name}", self._rooms.get(module, ""), name)
            self._passage(value, name)

    def _passage(self, value: Tensor, made_by: str) -> Passage:
        """The tensor's, made and its gradient watched when it is first seen."""
        known = getattr(value, PASSAGE, None)
        if known is None:
            known = Passage(made_by, [])
            setattr(value, PASSAGE, known)
            if value.requires_grad:
                value.register_hook(partial(self._gradient_of, known))
        return known

    def _gradient_of(self, passage: Passage, gradient: Tensor | None) -> None:
        if gradient is not None:  # custom functions may leave one out
            room = self._rooms.get(self.model.get_submodule(passage.owner), "")
            self._check(gradient, "backward", str(passage), room, passage.owner)

    def _parameter_gradient(self, name: str, gradient: Tensor | None) -> None:
        if gradient is not None:
            self._check(gradient, "backward", f"gradient of {name}", self._room_of(name), name)

    def _state(self, stage: str) -> None:
        """Parameters and buffers, the market among them."""
        for name, value in self.model.state_dict().items():
            if isinstance(value, Tensor):
                self._check(value, stage, name, self._room_of(name), name)

    def _room_of(self, name: str) -> str:
        """Of a parameter or buffer; the market is no module of any room."""
        owner = self.model.get_submodule(name.rpartition(".")[0])
        return self._rooms.get(owner, "market" if name.startswith("market.") else "")

    def _check(self, value: Tensor, stage: str, tensor: str, room: str, owner: str) -> None:
        value = value.detach()
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise NonFiniteTensor(Finding.of(value, self._step, stage, tensor, room, owner))


def _tensors(value: Any, label: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor inside what a module takes or gives, with the path to it."""
    if isinstance(value, Tensor):
        yield label, value
    elif isinstance(value, (tuple, list)):
        for index, entry in enumerate(value):
            yield from _tensors(entry, f"{label}[{index}]")
    elif isinstance(value, RoutingDecision):
        for name in MADE_BY_ROUTERS:
            yield from _tensors(getattr(value, name), f"{label}.{name}")
    elif is_dataclass(value) and isinstance(value, LOOKED_INTO):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name), f"{label}.{field.name}")
