"""Muon for hidden matrices and AdamW for everything else, as one optimiser."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from camoe.training.held_weights import WHOLE, HeldWeights
from camoe.training.orthogonalization import orthogonalize

CHUNK = 16_777_216
"""Elements that are orthogonalised at a time; a few times this is what a step needs beside weights and momenta."""

MOMENTUM = "momentum_buffer"


class MuonAdamW(torch.optim.Optimizer):
    """Torch groups with an entry `matrix`, (m, n), take Muon's step, all others AdamW's.

    A parameter of a Muon group holds one [m,n] matrix or several on top of each other ([E m,n] or [E,m,n]), and each is
    a matrix of its own. With gradient g, rate lr and momentum mu:

        M <- mu M + (1 - mu) g
        W <- (1 - lr weight_decay) W - lr 0.2 sqrt(max(m, n)) orthogonalize((1 - mu) g + mu M)

    Sources: momentum with Nesterov's look ahead from Jordan et al., 2024 (Muon); the factor 0.2 sqrt(max(m, n)), which
    gives a step the root mean square of one of AdamW's, so that both share one rate, and the weight decay from Liu et
    al., 2025 (Muon is scalable for LLM training, section 2.2). A parameter without gradient stays as it is.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        momentum: float,
        products: torch.dtype | None,
        adamw: dict[str, Any],
        weights: HeldWeights = WHOLE,
    ) -> None:
        """`products`: type that matrices are orthogonalised in, None for their own. `adamw`: arguments of AdamW."""
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0})
        self.momentum, self.products, self._held = momentum, products, weights
        self._matrices = [group for group in self.param_groups if "matrix" in group]
        # The same dictionaries, so that rates set here are read there.
        self._adamw = torch.optim.AdamW([group for group in self.param_groups if "matrix" not in group], **adamw)
        self._adamw.state = self.state

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        self._adamw.step()
        for group in self._matrices:
            for part in _chunks([parameter for parameter in group["params"] if parameter.grad is not None]):
                self._move(part, group)

    def _move(self, part: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [parameter.grad for parameter in part if parameter.grad is not None]
        momenta = [self._momentum_of(parameter) for parameter in part]
        ahead = self._look_ahead(gradients, momenta)
        rows, columns = group["matrix"]
        stacked = torch.cat([direction.view(-1, rows, columns) for direction in ahead])
        orthogonal = orthogonalize(stacked.to(self.products or stacked.dtype)).to(stacked.dtype)
        steps = orthogonal.split([parameter.numel() // (rows * columns) for parameter in part])
        held = [self._held.part(parameter) for parameter in part]
        torch._foreach_mul_(held, 1 - group["lr"] * group["weight_decay"])
        scale = -group["lr"] * 0.2 * math.sqrt(max(rows, columns))
        moves = [self._held.part_of(step.reshape(p.shape), p) for step, p in zip(steps, part, strict=True)]
        torch._foreach_add_(held, moves, alpha=scale)

    def _look_ahead(self, gradients: list[Tensor], momenta: list[Tensor]) -> list[Tensor]:
        """Momenta moved on, in place; the step's directions as whole matrices."""
        own, held = ([self._held.part(tensor) for tensor in tensors] for tensors in (gradients, momenta))
        torch._foreach_lerp_(held, own, 1 - self.momentum)
        ahead = torch._foreach_lerp(own, held, self.momentum)
        return [self._held.gathered(direction, gradient) for direction, gradient in zip(ahead, gradients, strict=True)]

    def _momentum_of(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if MOMENTUM not in state:
            state[MOMENTUM] = torch.zeros_like(parameter)
        return state[MOMENTUM]


def _chunks(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """Runs of parameters that together stay within CHUNK elements; a larger one is alone."""
    part: list[Tensor] = []
    size = 0
    for parameter in parameters:
        if part and size + parameter.numel() > CHUNK:
            yield part
            part, size = [], 0
        part.append(parameter)
        size += parameter.numel()
    if part:
        yield part
