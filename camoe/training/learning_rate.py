"""The learning-rate schedule around the phases' multipliers."""

from __future__ import annotations

import math

from camoe.config.optimizer import OptimizerConfig


def schedule_factor(config: OptimizerConfig, step: int, total_steps: int) -> float:
    """Share of the base rate at optimiser step `step` (from 0): linear warm-up, plateau, then the final decay."""
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    decay_steps = config.decay_fraction * total_steps
    if config.decay == "none" or decay_steps == 0:
        return warmup
    done = min(1.0, max(0.0, (step + 1 - (total_steps - decay_steps)) / decay_steps))
    remaining = 1 - done if config.decay == "linear" else (1 + math.cos(math.pi * done)) / 2
    return warmup * (config.final_ratio + (1 - config.final_ratio) * remaining)
