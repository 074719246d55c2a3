"""The optimiser and the learning-rate schedule around the phases' multipliers."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.refusal import ConfigError
from camoe.config.setting import setting


@dataclass(kw_only=True)
class OptimizerConfig:
    """Constants of the update rule, and of warm-up and decay."""

    kind: str = setting(
        "adamw",
        help="update rule; adamw8bit keeps both moments in 8 bits; muon orthogonalises the momentum of hidden "
        "matrices, each expert's by itself, and leaves the rest to AdamW",
        options=("adamw", "adamw8bit", "muon"),
    )
    muon_momentum: float = setting(0.95, help="decay of Muon's momentum", low=0, high=1)
    muon_router: bool = setting(True, help="Muon for the gate's hidden matrices too, else AdamW")
    beta1: float = setting(0.9, help="decay of the first moment", low=0, high=1)
    beta2: float = setting(0.99, help="decay of the second moment", low=0, high=1)
    eps: float = setting(1e-10, help="added to the root of the second moment", above=0)
    weight_decay: float = setting(0.1, help="decoupled weight decay, matrices only", low=0)
    grad_clip: float = setting(1.0, help="largest global gradient norm; 0 switches clipping off", low=0)
    warmup_steps: int = setting(10, help="linear warm-up, optimiser steps", low=0)
    decay: str = setting(
        "linear",
        help="shape of the final decay; cosine_restarts: cosine cycles from the first step on, with a linear decay of "
        "their height at the end of the run",
        options=("none", "linear", "cosine", "cosine_restarts"),
    )
    decay_fraction: float = setting(0.5, help="share of the run, at its end, over which the rate decays", low=0, high=1)
    final_ratio: float = setting(0.1, help="learning rate at the very end, as a share of the base rate", low=0, high=1)
    cycle_steps: int = setting(5000, help="optimiser steps of the first cycle of cosine_restarts", low=1)
    cycle_growth: float = setting(2.0, help="length of a cycle of cosine_restarts over that of the one before", low=1)
    cycle_decay: float = setting(
        0.7, help="height of a cycle of cosine_restarts over that of the one before", above=0, high=1
    )

    def __post_init__(self) -> None:
        if self.beta1 >= 1 or self.beta2 >= 1:
            raise ConfigError(f"optimizer.beta1, optimizer.beta2: {self.beta1}, {self.beta2}; both must be below 1")
        if self.muon_momentum >= 1:
            raise ConfigError(f"optimizer.muon_momentum: {self.muon_momentum}; must be below 1")
