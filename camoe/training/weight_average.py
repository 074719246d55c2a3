"""The average of a model's weights late in training, beside the weights and without a trace in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from camoe.config.averaging import AveragingConfig


class WeightAverage:
    """Float32 average of every parameter over the steps that `config` counts.

    Parameters alone: the market, the balancing rules and whatever else is a buffer stay those of the run.
    `weights` [name] is empty until the first counted step.
    """

    def __init__(self, config: AveragingConfig, total_steps: int) -> None:
        self.config = config
        self._counted = config.counted_steps(total_steps)
        self.weights: dict[str, Tensor] = {}

    @torch.no_grad()
    def note(self, model: nn.Module, step: int) -> None:
        """The weights after `step` optimiser steps; call it after every one."""
        if step not in self._counted:
            return
        parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
        if not self.weights:
            self.weights = {name: value.to(torch.float32, copy=True) for name, value in parameters.items()}
            return
        share = self.config.newest_share(1 + self._counted.index(step))
        averages = [self.weights[name] for name in parameters]
        torch._foreach_lerp_(averages, [value.float() for value in parameters.values()], share)

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """The model with averaged weights inside; afterwards it has its own again, the same bits in the same memory."""
        parameters = dict(model.named_parameters())
        own = {name: parameter.data for name, parameter in parameters.items()}
        try:
            for name, parameter in parameters.items():
                parameter.data = self.weights[name].to(parameter.dtype)
            yield
        finally:
            for name, parameter in parameters.items():
                parameter.data = own[name]

    def restore(self, weights: Mapping[str, Tensor], device: torch.device) -> None:
        """Go on from saved `weights`; how many steps they count for follows from the step that comes next."""
        self.weights = {name: value.to(device, copy=True) for name, value in weights.items()}
