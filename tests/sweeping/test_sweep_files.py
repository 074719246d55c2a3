"""Every arm of every study composes, differs from the others, and is what the study says."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from camoe.config.option_catalog import CONF, REPOSITORY, first_comment
from camoe.config.schema_store import register_with_hydra
from camoe.sweeping.sweep import Sweep, plan_sweep

STUDIES = {
    "alpha_sensitivity": 6,
    "economy_ablation": 15,
    "expert_mix": 6,
    "phase_ablation": 6,
    "router_ablation": 8,
    "smoke": 3,
}


@cache
def planned(name: str) -> Sweep:
    register_with_hydra()
    overrides = [f"+sweeps={name}"]
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("config", overrides, run_mode=RunMode.MULTIRUN)
        sweeper = OmegaConf.to_container(config.hydra.sweeper)
        assert isinstance(sweeper, dict)
        return plan_sweep(config, loader, sweeper["arms"], sweeper["params"], overrides)


def test_the_studies() -> None:
    assert sorted(path.stem for path in (REPOSITORY / "sweeps").iterdir()) == sorted(STUDIES)


@pytest.mark.parametrize("name", STUDIES)
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


def test_phases_are_ablated_at_the_same_length() -> None:
    assert {run.config.phase.total_steps for run in planned("phase_ablation").runs} == {220}


def test_one_mechanism_at_a_time() -> None:
    runs = planned("economy_ablation").runs
    assert {run.config.economy.kind for run in runs} == {"calibrated"}
    lengths = {len(run.planned.overrides) for run in runs}
    assert lengths == {3, 4}  # economy, seed, the sweep itself, and at most one thing more
