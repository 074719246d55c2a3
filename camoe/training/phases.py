"""Which phase a step belongs to, and what that phase lets learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from camoe.config.phase import PhaseConfig, PhaseScheduleConfig


@dataclass(frozen=True)
class Phase:
    """One phase in place: it covers the optimiser steps first <= step < end."""

    name: str
    config: PhaseConfig
    first: int
    end: int


class PhaseSchedule:
    """The phases that have steps, laid end to end; a pure function of the step, so resuming needs no memory."""

    def __init__(self, config: PhaseScheduleConfig) -> None:
        self.phases: list[Phase] = []
        for name, phase in config.schedule.items():
            if phase.steps:
                first = self.phases[-1].end if self.phases else 0
                self.phases.append(Phase(name, phase, first, first + phase.steps))

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole schedule."""
        return self.phases[-1].end

    def at(self, step: int) -> Phase:
        """The phase of optimiser step `step`, counted from 0; the last phase for any step beyond."""
        return next((phase for phase in self.phases if step < phase.end), self.phases[-1])

    @property
    def profiles(self) -> list[str]:
        """The data profiles of the phases, in the order they begin."""
        return list(dict.fromkeys(phase.config.data_profile for phase in self.phases))

    def steps_on(self, profile: str, step: int) -> int:
        """How many of the steps before `step` read this data profile."""
        read = [phase for phase in self.phases if phase.config.data_profile == profile]
        return sum(max(0, min(step, phase.end) - phase.first) for phase in read)


def let_learn(phase: Phase, groups: Mapping[str, Mapping[str, nn.Parameter]]) -> None:
    """Freeze the groups whose multiplier is 0; their gradients become None, so the optimiser leaves them alone."""
    for group, multiplier in phase.config.multipliers().items():
        for parameter in groups[group].values():
            parameter.requires_grad_(multiplier > 0)
            if multiplier == 0:
                parameter.grad = None
