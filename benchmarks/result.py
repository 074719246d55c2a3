"""One row of the table: what was measured, against what, what it must be, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.sample import Sample


@dataclass(frozen=True)
class Must:
    """What a row's value has to be."""

    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        """Whether the value is on the right side of the bound."""
        return value >= self.bound if self.at_least else value <= self.bound


def at_least(bound: float) -> Must:
    """The more the better."""
    return Must(bound, at_least=True)


def at_most(bound: float) -> Must:
    """The less the better."""
    return Must(bound, at_least=False)


@dataclass(frozen=True, kw_only=True)
class Result:
    """value: what `must` speaks of. figures: the measurements behind it by name, e.g. ours, the loop, the limit.

    limit: what the value would be if nothing but the named work were done; NaN-free, None where there is none.
    gate: the correctness check that came before. reason: why there is no value, of a row that did not run or failed.
    """

    row: str
    what: str
    value: Sample | None = None
    must: Must | None = None
    limit: float | None = None
    figures: dict[str, Sample] = field(default_factory=dict)
    gate: str = ""
    reason: str = ""
    failed: bool = False

    @property
    def verdict(self) -> str:
        """met, missed, failed (the gate), unrun, or nothing where there is no target."""
        if self.value is None:
            return "failed" if self.failed else "unrun"
        if self.must is None:
            return ""
        return "met" if self.must.met(self.value.median) else "missed"
