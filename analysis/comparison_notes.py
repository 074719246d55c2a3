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
    unequal = [
        f"{arm} {ratio:.3f}" for arm, ratio in arms["flops_ratio"].items() if abs(ratio - 1) > plan.flops_tolerance
    ]
    if unequal:
        yield (
            f"{UNEQUAL}: times the FLOPs per token of {plan.reference}: {', '.join(unequal)}; "
            "a difference may be bought by compute"
        )
    yield from (str(found) for found in paired.values() if isinstance(found, ConfigError))
    yield from _run_notes(runs)
    arms_with: dict[str, list[str]] = {}
    for arm, found in paired.items():
        for text in _pair_notes(found, int(arms["n"][arm]), plan) if isinstance(found, Pairs) else ():
            arms_with.setdefault(text, []).append(arm)
    yield from (f"{', '.join(names)}: {text}" for text, names in arms_with.items())


def _run_notes(runs: pd.DataFrame) -> Iterator[str]:
    """Every run that is not in the means, by arm and by what became of it."""
    seeds_of: dict[tuple[str, str], list[str]] = {}
    for run in runs[~runs["counted"]].to_dict("records"):
        state = "diverged" if run["diverged"] and run["status"] == "finished" else run["status"]
        reason = str(run["reason"] or "").splitlines()
        fate = f"{state} ({reason[0]})" if reason else str(state)
        seeds_of.setdefault((str(run["arm"]), fate), []).append(str(run["seed_init"]))
    for (arm, fate), seeds in seeds_of.items():
        yield f"{arm}, seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}: {fate}"


def _pair_notes(found: Pairs, runs: int, plan: AnalysisConfig) -> Iterator[str]:
    if len(found.frame) < runs:
        yield f"of {runs} runs, {len(found.frame)} have a run of {plan.reference} with their seeds"
    if found.unchecked:
        yield f"not recorded, so not compared: {'; '.join(found.unchecked)}"
    if 0 < len(found.frame) < FEWEST:
        yield f"{len(found.frame)} pairs are fewer than {FEWEST}: differences are shown, and no p-value"
