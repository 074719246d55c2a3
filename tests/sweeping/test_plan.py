"""sweep.json: written whole, read back, missed in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from camoe.config import ConfigError
from camoe.sweeping.plan import PlannedArm, SweepPlan, sweep_folder

PLAN = SweepPlan(
    sweep="study",
    command="run.py -m",
    created="2026-01-01T00:00:00",
    arms=(PlannedArm("gate", 1, ("economy=off", "seed=1"), "0123456789"), PlannedArm("gate", "1/2/3", (), "1" * 10)),
    analysis={"alpha": 0.05},
)


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = sweep_folder(tmp_path, "study")
    assert folder == tmp_path / "sweeps" / "study"
    PLAN.save(folder)
    assert SweepPlan.load(folder) == PLAN
    later = replace(PLAN, parent_run_id="abc")
    later.save(folder)
    assert SweepPlan.load(folder) == later
    assert [path.name for path in folder.iterdir()] == ["sweep.json"]


def test_a_sweep_that_is_not_there_is_missed_by_its_nearest_name(tmp_path: Path) -> None:
    PLAN.save(sweep_folder(tmp_path, "study"))
    with pytest.raises(ConfigError, match=r"sweep: no sweep 'studdy'; did you mean study\?"):
        SweepPlan.load(sweep_folder(tmp_path, "studdy"))


@pytest.mark.parametrize("text", ["{", "[]", '{"sweep": "x"}'])
def test_a_broken_plan_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(ConfigError, match="not the plan of a sweep"):
        SweepPlan.load(tmp_path)
