"""The parts of an optimiser step that are run one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from camoe.kernels.linear_cross_entropy import IGNORED
from camoe.routing.election_terms import ElectionTerms
from camoe.training.experiments import AuditDraw, StepExperiments
from camoe.training.objectives import Batch
from camoe.training.preference import Preferences


@dataclass(frozen=True)
class MicroBatch:
    """Sequences of one forward pass, the terms of their elections, and those to be audited (None: none)."""

    batch: Batch
    terms: ElectionTerms
    audit: AuditDraw | None = None


def micro_batches(
    window: Tensor,
    noise: Tensor,
    experiments: StepExperiments,
    parts: Iterable[slice],
    learned: Tensor | None = None,
    preferences: Preferences | None = None,
) -> Iterator[MicroBatch]:
    """Cut micro-batches out of an optimiser step's token windows [G,T+1] and noise [G,L,T,E].

    learned: [G,T], true where a target counts; None: everywhere. preferences: of the step's pairs.
    """
    inputs, targets = window[:, :-1], window[:, 1:]
    if learned is not None:
        targets = targets.masked_fill(~learned, IGNORED)
    for part in parts:
        yield MicroBatch(
            Batch(inputs[part], targets[part], preferences.of_rows(part) if preferences else None),
            ElectionTerms(noise[part], experiments.held_out[part].to(window.device), training=True),
            experiments.audit_within(part, window.device),
        )
