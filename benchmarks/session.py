"""How thoroughly to measure, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.sample import SHORTEST, Contestant, Sample, interleaved

T = TypeVar("T")


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True)
class Session:
    """quick: tiny sizes, one repetition, to try the machinery.

    repetitions: of what is cheap, and the most that there may be of what is dear.
    """

    quick: bool = False
    repetitions: int = 7
    say: Callable[[str], None] = _silent

    def pick(self, full: T, quick: T) -> T:
        """The value for this session."""
        return quick if self.quick else full

    def race(self, contestants: Mapping[str, Contestant], full: int | None = None) -> dict[str, Sample]:
        """Seconds per call of every contestant, in turn; `full`: repetitions of a full session."""
        return interleaved(contestants, self.times(full), 0.0 if self.quick else SHORTEST)

    def times(self, full: int | None = None) -> int:
        """Repetitions of something that a full session repeats `full` times, or as often as what is cheap."""
        return 1 if self.quick else min(full or self.repetitions, self.repetitions)
