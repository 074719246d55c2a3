"""The learning-rate schedule around the phases' multipliers."""

from __future__ import annotations

import math

from camoe.config.optimizer import OptimizerConfig
from camoe.config.restart_cycles import RESTARTS, cycle_at


def schedule_factor(config: OptimizerConfig, step: int, total_steps: int) -> float:
    """Share of the base rate at optimiser step `step` (from 0): warm-up, then plateau or cycles, then the final decay.

    Warm-up is linear. The final decay ends with the run, however many steps that has.
    """
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    height = warmup * (cycle_at(config, step).factor(step) if config.decay == RESTARTS else 1.0)
    decay_steps = config.decay_fraction * total_steps
    if config.decay == "none" or decay_steps == 0:
        return height
    done = min(1.0, max(0.0, (step + 1 - (total_steps - decay_steps)) / decay_steps))
    remaining = (1 + math.cos(math.pi * done)) / 2 if config.decay == "cosine" else 1 - done
    return height * (config.final_ratio + (1 - config.final_ratio) * remaining)
