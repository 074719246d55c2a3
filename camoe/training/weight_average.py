"""The average of a model's weights late in training, beside the weights and without a trace in them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from camoe.config.averaging import AveragingConfig
from camoe.training.held_weights import WHOLE, HeldWeights


class WeightAverage:
    """Float32 average of every parameter over the steps that `config` counts.

    Parameters alone: the market, the balancing rules and whatever else is a buffer stay those of the run.
    `weights` [name] is empty until the first counted step; each lies where its parameter does.
    """

    def __init__(self, config: AveragingConfig, total_steps: int, held: HeldWeights = WHOLE) -> None:
        self.config, self._held = config, held
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
        averages = [self._held.part(self.weights[name]) for name in parameters]
        torch._foreach_lerp_(averages, [self._held.part(value).float() for value in parameters.values()], share)

    def in_place(self, model: nn.Module) -> AbstractContextManager[None]:
        """The model with averaged weights inside; afterwards it has its own again."""
        return self._held.replaced(model, self.weights)

    def restore(self, weights: Mapping[str, Tensor], model: nn.Module) -> None:
        """Go on from saved `weights` of whole parameters; how many steps they count for follows from the next step."""
        beside = self._held.beside
        parameters = dict(model.named_parameters())
        self.weights = {name: beside(value, parameters[name]) for name, value in weights.items()}
