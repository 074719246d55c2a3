"""Every arm of every study composes, differs from the others, and is what the study says."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from camoe.config.option_catalog import REPOSITORY, first_comment
from tests.sweeping import planned_study

STUDIES = {
    "alpha_sensitivity": 6,
    "economy_ablation": 15,
    "expert_mix": 6,
    "phase_ablation": 6,
    "router_ablation": 13,
    "smoke": 3,
    "study_capital": 12,
    "study_capital_homogeneous": 12,
    "study_capital_homogeneous_tuning": 14,
    "study_capital_tuning": 14,
    "systems": 5,
}


planned = cache(planned_study.planned)


def one_worker_a_study(name: str) -> pytest.MarkDecorator:
    """Its composition is cached in the process that made it."""
    return pytest.mark.xdist_group(f"study {name}")


def test_the_studies() -> None:
    assert sorted(path.stem for path in (REPOSITORY / "sweeps").iterdir()) == sorted(STUDIES)


def _marks(name: str) -> list[pytest.MarkDecorator]:
    like_another = name.startswith("study_capital_")  # panels and tunings of the study that the quick suite composes
    return [one_worker_a_study(name), *([pytest.mark.slow] if like_another else [])]


@pytest.mark.parametrize("name", [pytest.param(name, marks=_marks(name)) for name in STUDIES])
def test_every_arm_composes_as_registered(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = planned(name)
    arms = list(dict.fromkeys(arm.arm for arm in sweep.plan.arms))
    assert (sweep.plan.sweep, len(arms)) == (name, STUDIES[name])
    assert len(sweep.plan.arms) == len(arms) * sweep.plan.analysis["n_seeds"]
    assert sweep.plan.analysis["reference"] in arms
    assert len({arm.signature for arm in sweep.plan.arms}) == len(sweep.plan.arms)
    assert len(first_comment(REPOSITORY / "sweeps" / f"{name}.yaml")) > 20
    warnings = {line for run in sweep.runs for line in run.command.warnings}
    assert not {line for line in warnings if "criticwarm has no effect" not in line}
    assert not list(tmp_path.iterdir())


@one_worker_a_study("phase_ablation")
def test_phases_are_ablated_at_the_same_length() -> None:
    assert {run.config.phase.total_steps for run in planned("phase_ablation").runs} == {220}


@one_worker_a_study("economy_ablation")
def test_one_mechanism_at_a_time() -> None:
    runs = planned("economy_ablation").runs
    assert {run.config.economy.kind for run in runs} == {"calibrated"}
    lengths = {len(run.planned.overrides) for run in runs}
    assert lengths == {3, 4}  # economy, seed, the sweep itself, and at most one thing more
