"""Pulls of the residual stream towards a learned equilibrium mu, between time mixing and the experts of a block.

Source: Complexity-ML, "Complexity MoE + PID Dynamics" (parameter-golf submissions 224 and 250), as specified; the
published code keeps mu_pull's form only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

DAMPING, STIFFNESS, VELOCITY_LIMIT = 0.95, 0.3, 3.0
STEP = 0.01  # of the velocity in pid, of the distance to mu in mu_pull
MU_RANGE = (0.5, 1.5)


class Equilibrium(nn.Module, ABC):
    """mu [C], learned from the middle of its range on; outside of the range it counts as the nearer end."""

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.empty(n_embd))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The middle of the range."""
        nn.init.constant_(self.mu, sum(MU_RANGE) / 2)

    @abstractmethod
    def forward(self, h: Tensor, velocity: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The residual stream h [B,T,C] and its velocity [B,T,C] over depth, after one more layer.

        velocity: None before the first layer; a kind without memory leaves it so.
        """

    def distance(self, h: Tensor) -> Tensor:
        """h - mu in float32 or wider."""
        wide = torch.promote_types(h.dtype, torch.float32)
        return h.to(wide) - self.mu.clamp(*MU_RANGE).to(wide)


class PidDynamics(Equilibrium):
    """v' = clamp(0.95 v - 0.3 (h - mu), -3, 3); h' = h + 0.01 v'. v is 0 before the first layer, for every token anew.

    v sums the distances that earlier layers left (integral), with damping.
    """

    def forward(self, h: Tensor, velocity: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """h' and v', which is float32 or wider."""
        velocity = (
            -STIFFNESS * self.distance(h) if velocity is None else DAMPING * velocity - STIFFNESS * self.distance(h)
        )
        velocity = velocity.clamp(-VELOCITY_LIMIT, VELOCITY_LIMIT)
        return h + (STEP * velocity).to(h.dtype), velocity


class MuPull(Equilibrium):
    """h' = h - 0.01 (h - mu): the control of pid, with the same parameters and no memory."""

    def forward(self, h: Tensor, velocity: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """h', and what came as velocity."""
        return h - (STEP * self.distance(h)).to(h.dtype), velocity


KINDS: dict[str, type[Equilibrium]] = {"pid": PidDynamics, "mu_pull": MuPull}


def build_dynamics(kind: str, n_embd: int) -> Equilibrium | None:
    """The dynamics `model.dynamics` names; None for `none`."""
    return None if kind == "none" else KINDS[kind](n_embd)
