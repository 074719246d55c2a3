"""Repeated measurements of one quantity, and how they are taken: contestants in turn, under the same load."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Contestant = Callable[[], object]
SHORTEST = 0.02  # seconds of one timing; quicker calls are repeated within it


@dataclass(frozen=True)
class Sample:
    """Values of one quantity over repetitions. unit: s, bytes, tokens/s, x, share, or nothing."""

    values: tuple[float, ...]
    unit: str = "s"

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest value."""
        return max(self.values)

    def over(self, other: Sample, unit: str = "x") -> Sample:
        """This over `other`, repetition by repetition; of unlike numbers of repetitions, median over median."""
        if len(self.values) != len(other.values):
            return Sample((self.median / other.median,), unit)
        return Sample(tuple(a / b for a, b in zip(self.values, other.values, strict=True)), unit)

    def scaled(self, factor: float, unit: str | None = None) -> Sample:
        """Every value times `factor`."""
        return Sample(tuple(value * factor for value in self.values), self.unit if unit is None else unit)

    def rate(self, amount: float, unit: str) -> Sample:
        """`amount` per value."""
        return Sample(tuple(amount / value for value in self.values), unit)

    def plus(self, other: Sample) -> Sample:
        """Sums, repetition by repetition; of unlike numbers of repetitions, with the other's median."""
        if len(self.values) != len(other.values):
            return Sample(tuple(value + other.median for value in self.values), self.unit)
        return Sample(tuple(a + b for a, b in zip(self.values, other.values, strict=True)), self.unit)


def interleaved(
    contestants: Mapping[str, Contestant], repetitions: int, shortest: float = SHORTEST
) -> dict[str, Sample]:
    """Seconds per call of every contestant, all in turn, `repetitions` times after a call of each to warm up.

    shortest: seconds of one timing. What takes a second is not warmed up twice.
    """
    calls = {name: _calls_per_timing(contestant, shortest) for name, contestant in contestants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    gc.collect()
    gc.disable()  # a collection in the middle of one timing would be charged to that one
    try:
        for _ in range(repetitions):
            for name, contestant in contestants.items():
                seconds[name].append(_seconds(contestant, calls[name]))
    finally:
        gc.enable()
    return {name: Sample(tuple(values)) for name, values in seconds.items()}


def _calls_per_timing(contestant: Contestant, shortest: float) -> int:
    first = _seconds(contestant, 1)
    if first >= 1.0 or not shortest:
        return 1
    return max(1, round(shortest / max(_seconds(contestant, 1), 1e-7)))


def _seconds(contestant: Contestant, calls: int) -> float:
    """Mean seconds of `calls` calls."""
    begin = time.perf_counter()
    for _ in range(calls):
        contestant()
    return (time.perf_counter() - begin) / calls
