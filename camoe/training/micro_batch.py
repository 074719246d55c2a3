"""The parts of an optimiser step that are run one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from camoe.routing.election_terms import ElectionTerms
from camoe.training.experiments import AuditDraw, StepExperiments
from camoe.training.objectives import Batch


@dataclass(frozen=True)
class MicroBatch:
    """Sequences of one forward pass, the terms of their elections, and those to be audited (None: none)."""

    batch: Batch
    terms: ElectionTerms
    audit: AuditDraw | None = None


def micro_batches(
    window: Tensor, noise: Tensor, experiments: StepExperiments, parts: Iterable[slice]
) -> Iterator[MicroBatch]:
    """Cut micro-batches out of an optimiser step's token windows [G,T+1] and noise [G,L,T,E]."""
    for part in parts:
        tokens = window[part]
        yield MicroBatch(
            Batch(inputs=tokens[:, :-1], targets=tokens[:, 1:]),
            ElectionTerms(noise[part], experiments.held_out[part].to(window.device), training=True),
            experiments.audit_within(part, window.device),
        )
