"""Averaging of weights late in training: which steps' weights count, and how much."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

from camoe.config.refusal import ConfigError
from camoe.config.setting import setting

MOST_EARLY = 0.05
"""The most that weights of a run's first half may count for: they are far from where the run ends."""


@dataclass(kw_only=True)
class AveragingConfig:
    """An average beside the weights, which never touches them."""

    kind: str = setting("none", help="none, swa (plain mean) or ema (exponential mean)", options=("none", "swa", "ema"))
    start: float = setting(0.75, help="share of the run's steps before the first weights that count", low=0, high=1)
    every: int = setting(1, help="optimiser steps between weights that count; those of the last step always do", low=1)
    decay: float = setting(
        0.999, help="ema: what weights count for, over what the next ones that count do", above=0, high=1
    )

    def __post_init__(self) -> None:
        if self.decay >= 1:
            raise ConfigError(f"averaging.decay: {self.decay}; must be below 1, or use averaging=swa")

    def counted_steps(self, total_steps: int) -> range:
        """Numbers of steps after which weights count, never before `start`; none without averaging."""
        if self.kind == "none":
            return range(0)
        first = max(1, math.ceil(self.start * total_steps - 1e-9))
        return range(total_steps - (total_steps - first) // self.every * self.every, total_steps + 1, self.every)

    def newest_share(self, count: int) -> float:
        """What the newest of `count` weights counts for; the others share the rest as they did before it.

        swa: 1 / n. ema: (1 - d) / (1 - d^n), so that the first weights count for no more than their age says
        (the bias correction of Adam, Kingma and Ba, 2015, section 3).
        """
        return 1 / count if self.kind == "swa" else (1 - self.decay) / (1 - self.decay**count)

    def early_share(self, total_steps: int) -> float:
        """What weights of the run's first half count for in the final average."""
        counted = self.counted_steps(total_steps)
        early = bisect_left(counted, total_steps / 2)
        if not early or self.kind == "swa":
            return early / max(1, len(counted))
        return (self.decay ** (len(counted) - early) - self.decay ** len(counted)) / (1 - self.decay ** len(counted))

    def check(self, total_steps: int) -> None:
        """ConfigError for an average that would lag behind the run."""
        early = self.early_share(total_steps)
        if early > MOST_EARLY:
            shorter = " or lower averaging.decay" if self.kind == "ema" else ""
            raise ConfigError(
                f"averaging.start: {self.start} gives weights of the run's first half {early:.0%} of the average, "
                f"which makes it worse; allowed is {MOST_EARLY:.0%}: raise averaging.start (0.5 always does){shorter}"
            )
