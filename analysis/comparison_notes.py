"""What must be said beside the figures of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from analysis.pairing import Pairs
from analysis.statistics.paired_test import FEWEST
from camoe.config import ConfigError
from camoe.config.analysis import AnalysisConfig

UNEQUAL = "UNEQUAL FLOPs"


def comparison_notes(
    arms: pd.DataFrame, paired: Mapping[str, Pairs | ConfigError], runs: pd.DataFrame, plan: AnalysisConfig
) -> Iterator[str]:
    """`Comparison.notes`: what a reader must know before the figures, the gravest first."""
    for arm, ratio in arms["flops_ratio"].items():
        if abs(ratio - 1) > plan.flops_tolerance:
            yield (
                f"{UNEQUAL}: {arm} spends {ratio:.3f} times the FLOPs per token of {plan.reference}; "
                "what it gains or loses may be compute"
            )
    yield from (str(found) for found in paired.values() if isinstance(found, ConfigError))
    yield from _run_notes(runs)
    arms_with: dict[str, list[str]] = {}
    for arm, found in paired.items():
        for text in _pair_notes(found, int(arms["n"][arm]), plan) if isinstance(found, Pairs) else ():
            arms_with.setdefault(text, []).append(arm)
    yield from (f"{', '.join(names)}: {text}" for text, names in arms_with.items())


def _run_notes(runs: pd.DataFrame) -> Iterator[str]:
    """Every run that is not in the means, by name."""
    for run in runs[~runs["counted"]].to_dict("records"):
        state = "diverged" if run["diverged"] and run["status"] == "finished" else run["status"]
        reason = str(run["reason"] or "").splitlines()
        yield f"{run['arm']}, seed {run['seed_init']}: {state}" + (f" ({reason[0]})" if reason else "")


def _pair_notes(found: Pairs, runs: int, plan: AnalysisConfig) -> Iterator[str]:
    if len(found.frame) < runs:
        yield f"of {runs} runs, {len(found.frame)} have a run of {plan.reference} with their seeds"
    if found.unchecked:
        yield f"not recorded, so not compared: {'; '.join(found.unchecked)}"
    if 0 < len(found.frame) < FEWEST:
        yield f"{len(found.frame)} pairs are fewer than {FEWEST}: differences are shown, and no p-value"
