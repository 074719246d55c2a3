"""From runs to a `Comparison`: arms, pairs with the reference, tests of the whole family, and what must be said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from analysis.arm_differences import arm_differences
from analysis.arm_figures import arm_figures
from analysis.comparison import NOT_RANKED, REFERENCE, UNDECIDED, Comparison
from analysis.comparison_notes import UNEQUAL, comparison_notes
from analysis.market_ranks import market_ranks
from analysis.pairing import COLUMNS, Pairs, pair
from analysis.plan_followed import plan_followed
from analysis.primary_metric import PrimaryMetric, primary_metric, with_values
from analysis.statistics.family import holm
from analysis.sweep_file import RegisteredSweep
from analysis.verdict import by_seeds, verdict
from camoe.config import ConfigError
from camoe.config.analysis import AnalysisConfig
from camoe.config.refusal import not_an_option
from camoe.config.router import NOT_CAUSAL

OF_FAMILY = ("p_holm", "p_equivalence_holm")


@dataclass(frozen=True)
class Study:
    """The runs to compare and where they come from."""

    name: str
    runs: pd.DataFrame
    folder: Path
    sweep: RegisteredSweep | None = None


def compare(study: Study, plan: AnalysisConfig, *, strict: bool = False) -> Comparison:
    """Every arm against the reference.

    An arm that cannot be paired is called not comparable, with the reason; ConfigError where that holds for all arms
    or, with `strict`, for any, and then also for unequal FLOPs per token. ConfigError too for a metric or a reference
    that does not exist, and for runs that are all of one arm.
    """
    arms = list(dict.fromkeys(study.runs["arm"]))
    reference = _reference(plan, arms)
    plan = replace(plan, reference=reference)
    metric = primary_metric(plan, study.runs)
    runs = with_values(study.runs, plan)
    by_arm = {arm: runs[runs["arm"] == arm] for arm in (reference, *(a for a in arms if a != reference))}
    if kinds := _not_causal(by_arm[reference]):
        raise ConfigError(f"analysis.reference: {reference}, whose router {', '.join(kinds)} reads ahead; {NOT_RANKED}")
    paired = {arm: _paired(own, by_arm[reference], strict) for arm, own in by_arm.items() if arm != reference}
    if all(isinstance(found, ConfigError) for found in paired.values()):
        raise next(iter(found for found in paired.values() if isinstance(found, ConfigError)))
    frame = _arms(by_arm, paired, metric, plan)
    notes = tuple(comparison_notes(frame, paired, runs, plan))
    if strict and (unequal := next((note for note in notes if note.startswith(UNEQUAL)), None)):
        raise ConfigError(f"--strict: {unequal}")
    return Comparison(
        name=study.name,
        plan=plan,
        metric=metric.name,
        unit=metric.unit,
        margin=metric.margin,
        better=metric.better,
        reference=reference,
        level=1 - plan.alpha,
        folder=study.folder,
        runs=runs,
        arms=frame,
        pairs=_all_pairs(paired),
        market=market_ranks(runs),
        plan_followed=plan_followed(study.sweep, plan, runs),
        notes=notes,
        parent_run_id=study.sweep.planned.parent_run_id if study.sweep else None,
    )


def _reference(plan: AnalysisConfig, arms: list[str]) -> str:
    if len(arms) < 2:
        raise ConfigError(f"compare: these runs are all of one arm ({', '.join(arms) or 'none'}); give at least two")
    if plan.reference is not None and plan.reference not in arms:
        raise not_an_option("analysis.reference", plan.reference, arms, noun="arm")
    return plan.reference or arms[0]


def _paired(arm: pd.DataFrame, reference: pd.DataFrame, strict: bool) -> Pairs | ConfigError:
    if kinds := _not_causal(arm):
        return ConfigError(f"{arm['arm'].iloc[0]}: router {', '.join(kinds)} reads ahead; {NOT_RANKED}")
    try:
        return pair(arm[arm["counted"]], reference[reference["counted"]])
    except ConfigError as refusal:
        if strict:
            raise
        return refusal


def _not_causal(arm: pd.DataFrame) -> list[str]:
    """The kinds of router in an arm that look at later tokens: what they come to is an upper bound."""
    column = "config.router.kind"
    return sorted(set(arm[column]) & set(NOT_CAUSAL)) if column in arm else []


def _arms(
    by_arm: Mapping[str, pd.DataFrame],
    paired: Mapping[str, Pairs | ConfigError],
    metric: PrimaryMetric,
    plan: AnalysisConfig,
) -> pd.DataFrame:
    rows = []
    for arm, runs in by_arm.items():
        found = paired.get(arm)
        rows.append(
            {"arm": arm, "why": str(found) if isinstance(found, ConfigError) else ""}
            | arm_figures(runs, 1 - plan.alpha)
            | arm_differences(found.frame if isinstance(found, Pairs) else _NO_PAIRS, metric, plan)
        )
    frame = pd.DataFrame(rows).set_index("arm")
    for name in OF_FAMILY:
        frame[name] = holm(frame[name.removesuffix("_holm")].to_numpy(dtype=float))
    return _judged(frame, metric, plan)


def _judged(arms: pd.DataFrame, metric: PrimaryMetric, plan: AnalysisConfig) -> pd.DataFrame:
    rows = [{str(name): value for name, value in row.items()} for row in arms.to_dict("records")]
    verdicts = [REFERENCE, *(verdict(row, metric.better, plan.alpha, metric.margin) for row in rows[1:])]
    said = [bool(by_seeds(row, metric.better, plan.alpha)) for row in rows]
    short = [word == UNDECIDED and decided for word, decided in zip(verdicts, said, strict=True)]
    return arms.assign(verdict=verdicts, short_of_text=short)


_NO_PAIRS = pd.DataFrame(columns=["difference", "flops_ratio", "folder", "reference_folder"], dtype=float)


def _all_pairs(paired: Mapping[str, Pairs | ConfigError]) -> pd.DataFrame:
    frames = [found.frame.assign(arm=arm) for arm, found in paired.items() if isinstance(found, Pairs)]
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)[["arm", *COLUMNS]]
