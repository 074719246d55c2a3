"""Which sequences of an optimiser step each rank runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from camoe.config import ConfigError
from camoe.config.capacity import CapacityConfig
from camoe.config.phase import PhaseScheduleConfig
from camoe.config.train import TrainConfig


@dataclass(frozen=True)
class BatchShare:
    """One rank's share of a step of `grad_accum` micro-batches of `micro_batch` sequences.

    Ranks take whole micro-batches where their number divides grad_accum. Otherwise `ranks / gcd(ranks, grad_accum)` of
    them share each micro-batch and run their parts of it at the same time; what is counted by micro-batch is then
    added up, so that the number of ranks does not change what is computed.
    """

    micro_batch: int
    grad_accum: int
    rank: int = 0
    ranks: int = 1

    def __post_init__(self) -> None:
        sequences = self.micro_batch * self.grad_accum
        if sequences % self.ranks:
            raise ConfigError(
                f"train.micro_batch: {self.micro_batch} x {self.grad_accum} (train.grad_accum) = {sequences} sequences "
                f"per step cannot be shared equally by {self.ranks} processes; must be a multiple of {self.ranks}"
            )

    @classmethod
    def of(cls, train: TrainConfig, rank: int = 0, ranks: int = 1) -> BatchShare:
        """The share of one rank; ConfigError where the step cannot be shared equally."""
        return cls(train.micro_batch, train.grad_accum, rank, ranks)

    def check(self, capacity: CapacityConfig) -> None:
        """Refuse a capacity that counts a micro-batch of which this rank sees a part."""
        if self.sharers > 1 and capacity.mode != "off" and capacity.scope == "batch":
            raise ConfigError(
                f"router.capacity.scope: batch counts a whole micro-batch, but {self.sharers} processes share each; "
                f"choose router.capacity.scope=sequence, or a train.grad_accum of which {self.ranks} is a divisor"
            )

    def check_pairs(self, config: PhaseScheduleConfig) -> None:
        """Refuse a share that would tear a pair of answers apart."""
        rows = self.micro_batch // self.sharers
        if config.with_profile("preferences") and rows % 2:
            raise ConfigError(
                f"train.micro_batch: {self.micro_batch} gives each process {rows} rows at a time, but phases with "
                f"data_profile preferences read pairs of rows; must be a multiple of {2 * self.sharers}"
            )

    @property
    def groups(self) -> int:
        """How many micro-batches are run at the same time."""
        return math.gcd(self.ranks, self.grad_accum)

    @property
    def sharers(self) -> int:
        """How many ranks run each micro-batch together."""
        return self.ranks // self.groups

    @property
    def group(self) -> int:
        """Which of the micro-batches that are run at the same time is this rank's."""
        return self.rank // self.sharers

    @property
    def parts(self) -> list[slice]:
        """The sequences of this rank's forward passes, counted from the start of the step."""
        size, place = self.micro_batch // self.sharers, self.rank % self.sharers
        rounds = self.grad_accum // self.groups
        starts = (
            number * self.micro_batch + place * size for number in range(self.group * rounds, (self.group + 1) * rounds)
        )
        return [slice(start, start + size) for start in starts]
