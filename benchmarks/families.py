"""All rows by name, in the order of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks import (
    audit_cost,
    credit_audit,
    device_rates,
    expert_stage,
    generation,
    head_loss,
    peak_memory,
    prefix_attention,
    settlement,
    start_up,
    tracking,
    training_cuda,
    whole_step,
    wkv7,
    wkv7_cuda,
)
from benchmarks.gate import GateFailed
from benchmarks.result import Result
from benchmarks.session import Session

_MODULES = (
    wkv7,
    wkv7_cuda,
    prefix_attention,
    expert_stage,
    head_loss,
    whole_step,
    generation,
    peak_memory,
    settlement,
    audit_cost,
    credit_audit,
    tracking,
    start_up,
    training_cuda,
    device_rates,
)
FAMILIES = {module.ROW: module for module in _MODULES}
ONLY_WHEN_NAMED = frozenset({credit_audit.ROW})
"""They train models for many minutes."""
DEFAULT = tuple(name for name in FAMILIES if name not in ONLY_WHEN_NAMED)


def about(name: str) -> str:
    """What a family of rows measures, in one line."""
    return (FAMILIES[name].__doc__ or "").strip().splitlines()[0]


def run_family(name: str, session: Session) -> Iterator[Result]:
    """The results of a family; a failed gate ends it with a row that says so."""
    measure: Callable[[Session], Iterator[Result]] = FAMILIES[name].measure
    try:
        yield from measure(session)
    except GateFailed as failure:
        yield Result(row=name, what="correctness gate", failed=True, reason=str(failure))
