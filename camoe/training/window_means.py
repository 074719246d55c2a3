"""Running sums of a log window's scalars, kept on the device until somebody asks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class WindowMeans:
    """Means over the optimiser steps since `reset`; its state travels in checkpoints, so a window survives a stop."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin a new window."""
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add one optimiser step's scalars; a name may be absent from some steps."""
        for name, value in values.items():
            value = value.detach().to(torch.float64, copy=True)
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._steps[name] = self._steps.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Mean of every scalar over the steps that had it."""
        return {name: float(total) / self._steps[name] for name, total in self._sums.items()}

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on: name -> [sum, steps]."""
        return {
            name: torch.stack([total.cpu(), torch.tensor(float(self._steps[name])).double()])
            for name, total in self._sums.items()
        }

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Go on from `state()`."""
        self._sums = {name: pair[0].to(device) for name, pair in state.items()}
        self._steps = {name: int(pair[1]) for name, pair in state.items()}
