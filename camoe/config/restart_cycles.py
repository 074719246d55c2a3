"""The cycles of optimizer.decay=cosine_restarts: where each begins, how long it is, how high it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from camoe.config.optimizer import OptimizerConfig

RESTARTS = "cosine_restarts"
LOWEST = 0.01
"""What a cycle falls to, as a share of its own height."""


@dataclass(frozen=True)
class Cycle:
    """One cycle: optimiser steps start <= step < end, beginning at `height` times the base rate."""

    number: int
    start: float
    end: float
    height: float

    def factor(self, step: float) -> float:
        """height (.01 + .99 (1 + cos(pi t / T)) / 2), t = step - start, T = end - start.

        Source: SGDR (Loshchilov and Hutter, 2017, eq. 5) with a height that shrinks from cycle to cycle.
        """
        done = (step - self.start) / (self.end - self.start)
        return self.height * (LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * done)) / 2)


def cycle_at(config: OptimizerConfig, step: float) -> Cycle:
    """The cycle of optimiser step `step`, counted from 0."""
    number, start, length = 0, 0.0, float(config.cycle_steps)
    while step >= start + length:
        number, start, length = number + 1, start + length, length * config.cycle_growth
    return Cycle(number, start, start + length, config.cycle_decay**number)


def unfinished_cycle(config: OptimizerConfig, total_steps: int) -> str | None:
    """One line when the run ends inside a cycle, where the rate is not at its lowest."""
    if config.decay != RESTARTS:
        return None
    cycle = cycle_at(config, total_steps)
    if total_steps == cycle.start:
        return None
    earlier = f"end at step {cycle.start:,.0f} or go on" if cycle.number else "go on"
    return (
        f"optimizer.cycle_steps: the run's {total_steps:,} steps end inside cycle {cycle.number + 1} of {RESTARTS}, "
        f"at {cycle.factor(total_steps):.2f} of the base rate before any warm-down (optimizer.decay_fraction); "
        f"{earlier} to step {cycle.end:,.0f} for whole cycles"
    )
