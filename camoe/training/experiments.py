"""Which sequences of an optimiser step the market is measured on: held out from it, or audited."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from camoe.economy.market import Market

_STREAM = 7_368_787
"""Parts these draws from the router noise of the same seed and step."""


@dataclass(frozen=True)
class AuditDraw:
    """Sequences `rows` [S] of a micro-batch, the expert drawn for each [S], and the layer that is audited."""

    layer: int
    rows: Tensor
    experts: Tensor


@dataclass(frozen=True)
class StepExperiments:
    """Of one optimiser step of G sequences; a sequence is held out, audited, or neither.

    held_out: [G] bool, routed without the market's bias. audited: [S] int64, rising; experts: [S] int64, the one drawn
    for each. layer: the audited one.
    """

    held_out: Tensor
    audited: Tensor
    experts: Tensor
    layer: int

    def audit_within(self, part: slice, device: torch.device) -> AuditDraw | None:
        """The audits of the sequences `part` of the step, counted from its start; None in a step without audits.

        In one with audits, a part without has a draw of no sequence: all ranks run the audited layer together.
        """
        if not len(self.audited):
            return None
        inside = (self.audited >= part.start) & (self.audited < part.stop)
        return AuditDraw(self.layer, (self.audited[inside] - part.start).to(device), self.experts[inside].to(device))


class Experiments:
    """Draws that are a pure function of seed and step, so they need no place in a checkpoint.

    Held out is the share of G, rounded up or down at random so that its mean is exact. Audits come together: in the
    share of the steps, at even distances, every sequence that is not held out is audited, because one sequence alone
    uses the machine worse than many.
    """

    def __init__(self, seed: int, market: Market, n_expert: int) -> None:
        self.seed, self.n_expert = seed, n_expert
        self.holdout_share, self.plan = market.holdout_share, market.audits

    def of_step(self, step: int, sequences: int) -> StepExperiments:
        """The experiments of one step, on the CPU."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step + _STREAM) % 2**63)
        order = torch.randperm(sequences, generator=generator)
        held = int(sequences * self.holdout_share + torch.rand((), generator=generator).item())
        held_out = torch.zeros(sequences, dtype=torch.bool)
        held_out[order[:held]] = True
        earlier, audits = self._audits_before(step), self._audits_before(step + 1)
        audited = (~held_out).nonzero().squeeze(1) if audits > earlier else order[:0]
        return StepExperiments(
            held_out=held_out,
            audited=audited,
            experts=torch.randint(self.n_expert, (len(audited),), generator=generator),
            layer=self.plan.layer(earlier) if self.plan else 0,
        )

    def _audits_before(self, step: int) -> int:
        """Steps before this one that are audited; where the first lies between 0 and 1/share is the seed's."""
        first = torch.rand((), generator=torch.Generator().manual_seed(self.seed)).item()
        return int(step * (self.plan.share if self.plan else 0.0) + first)
