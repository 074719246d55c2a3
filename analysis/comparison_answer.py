"""What a comparison says, in sentences made from its verdicts and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analysis.comparison import (
    BETTER,
    DIVERGED,
    EQUIVALENT,
    NO_RUNS,
    NOT_COMPARABLE,
    NOT_RANKED,
    UNDECIDED,
    WORSE,
    Comparison,
)
from analysis.comparison_tables import arm_rows, difference_in_words, margin_in_words
from analysis.verdict import what_it_takes

Arms = Sequence[Mapping[str, Any]]


def answer(found: Comparison) -> str:
    """What is shown, in a sentence; that nothing is, where nothing is."""
    better, worse, equivalent = (_with(found, verdict) for verdict in (BETTER, WORSE, EQUIVALENT))
    parts = [
        f"{listed([_measured(arm) for arm in arms])} {_is(arms)} {word}"
        for arms, word in ((better, "better"), (worse, "worse"))
        if arms
    ]
    if equivalent:
        names = listed([arm["arm"] for arm in equivalent])
        parts.append(f"{names} {_is(equivalent)} equivalent within {margin_in_words(found)}")
    if not parts:
        return f"No arm is shown to be better, worse or equivalent to {found.reference} on {found.metric}."
    return f"On {found.metric}, against {found.reference}: {'; '.join(parts)}."


def what_is_open(found: Comparison) -> list[str]:
    """What the answer leaves out, a sentence each, and whether the plan was followed."""
    return [*_unequal(found), *_open(found), _plan(found)]


def _unequal(found: Comparison) -> Iterator[str]:
    """Arms of the answer that had another amount of compute than the reference."""
    judged = [arm for verdict in (BETTER, WORSE, EQUIVALENT) for arm in _with(found, verdict)]
    unequal = [arm for arm in judged if abs(arm["flops_ratio"] - 1) > found.plan.flops_tolerance]
    if unequal:
        ratios = listed([f"{arm['arm']} ({arm['flops_ratio']:.2f} times)" for arm in unequal])
        yield f"Not at the FLOPs per token of {found.reference}: {ratios}; part of a difference may be compute."


def _open(found: Comparison) -> Iterator[str]:
    if undecided := _with(found, UNDECIDED):
        yield "Undecided: " + "; ".join(f"{arm['arm']} ({what_it_takes(arm)})" for arm in undecided) + "."
    if diverged := _with(found, DIVERGED):
        shares = [f"{arm['arm']} in {arm['diverged']:.0f} of {arm['planned']:.0f} runs" for arm in diverged]
        yield f"Diverged: {listed(shares)}."
    if refused := _with(found, NOT_COMPARABLE):
        yield f"Not comparable: {listed([arm['arm'] for arm in refused])}; the notes say why."
    if bounds := _with(found, NOT_RANKED):
        yield f"Non-causal, so upper bounds and not ranked: {listed([arm['arm'] for arm in bounds])}."
    if absent := _with(found, NO_RUNS):
        yield f"Without a finished run: {listed([arm['arm'] for arm in absent])}."


def _plan(found: Comparison) -> str:
    broken = found.plan_followed.loc[~found.plan_followed["followed"].astype(bool), "item"]
    if not len(broken):
        return "The plan was followed."
    return f"The plan was not followed: {listed([str(item).replace('_', ' ') for item in broken])}."


def _with(found: Comparison, verdict: str) -> Arms:
    return [arm for arm in arm_rows(found) if arm["verdict"] == verdict]


def _measured(arm: Mapping[str, Any]) -> str:
    return f"{arm['arm']} ({difference_in_words(arm)})"


def _is(arms: Arms) -> str:
    return "are" if len(arms) > 1 else "is"


def listed(names: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))
