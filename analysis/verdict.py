"""What may be said of an arm: better, worse, equivalent, undecided, or why nothing may be said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.arm_differences import DOCUMENTS
from analysis.comparison import BETTER, DIVERGED, EQUIVALENT, NO_RUNS, NOT_COMPARABLE, NOT_RANKED, UNDECIDED, WORSE
from analysis.primary_metric import LOWER
from analysis.statistics.paired_test import FEWEST


def verdict(arm: Mapping[str, Any], better: str, alpha: float, margin: float) -> str:
    """Of a row of `Comparison.arms` that has everything but the verdict.

    A diverged run is a finding, not an accident: its arm is called diverged, whatever its other runs came to.
    Equivalence goes before difference, for a difference shown to be smaller than the margin does not matter. The tests
    know seeds alone; where the interval knows documents too, what they say must hold in it as well.
    """
    if arm["diverged"]:
        return DIVERGED
    if not arm["n"]:
        return NO_RUNS
    if arm["why"]:
        return NOT_RANKED if arm["why"].endswith(NOT_RANKED) else NOT_COMPARABLE
    said = by_seeds(arm, better, alpha)
    return next((word for word in said if _holds_on_other_text(arm, word, margin)), UNDECIDED)


def by_seeds(arm: Mapping[str, Any], better: str, alpha: float) -> list[str]:
    """What the tests over seeds say, the more useful first; empty where they leave it open."""
    said = [EQUIVALENT] if arm["p_equivalence_holm"] < alpha else []
    if arm["p_holm"] < alpha:
        said.append(BETTER if (arm["difference"] < 0) == (better == LOWER) else WORSE)
    return said


def _holds_on_other_text(arm: Mapping[str, Any], word: str, margin: float) -> bool:
    if arm["interval"] != DOCUMENTS:
        return True
    if word == EQUIVALENT:
        return bool(-margin < arm["low"] and arm["high"] < margin)
    return bool(arm["low"] > 0 or arm["high"] < 0)


def verdict_in_words(arm: Mapping[str, Any], margin: str) -> str:
    """With what a reader asks next: how many seeds it would take, how many runs diverged."""
    word = str(arm["verdict"])
    if word == DIVERGED:
        return f"{word}: {arm['diverged']:.0f} of {arm['planned']:.0f} runs"
    if word == EQUIVALENT:
        return f"{word} within {margin}"
    if word == UNDECIDED:
        return f"{word} ({what_it_takes(arm)})"
    return word


def what_it_takes(arm: Mapping[str, Any]) -> str:
    """What would settle an undecided arm."""
    if arm["short_of_text"]:
        return "needs more held-out text"
    needed = arm["seeds_needed"]
    if needed != needed:  # NaN: no spread is known from fewer than two pairs
        return f"needs at least {FEWEST} seeds"
    if max(needed, FEWEST) > arm["pairs"]:
        return f"needs about {max(needed, FEWEST):,.0f} seeds"
    return "the difference is close to the margin"
