"""From a composition to a checked RunConfig, without a command line."""

from __future__ import annotations

from dataclasses import fields

import pytest
from compositions import composition, run_config
from omegaconf import OmegaConf

from camoe.config import ConfigError
from camoe.config.economy import V18Config, V21Config
from camoe.config.resolve import resolve
from camoe.config.setting import allowed_range
from camoe.config.train import TrainConfig
from camoe.config.value_check import check_value

pytestmark = pytest.mark.usefixtures("hydra")


@pytest.mark.parametrize(("option", "schema"), [("v21", V21Config), ("pilot", V21Config), ("v18", V18Config)])
def test_economy_is_of_its_own_type(option: str, schema: type) -> None:
    assert type(run_config(f"economy={option}").economy) is schema


def test_economy_off_has_no_money() -> None:
    assert [field.name for field in fields(run_config("economy=off").economy)] == ["kind"]


def test_a_phase_can_be_added_and_taken_out() -> None:
    schedule = run_config("+phase.schedule={late: {steps: 5, critic: 0.5}}", "~phase.schedule.sft").phase.schedule
    assert "sft" not in schedule
    assert list(schedule)[-1] == "late"
    assert (schedule["late"].steps, schedule["late"].critic, schedule["late"].bridge) == (5, 0.5, 1.0)


def test_something_else_than_a_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="no configuration of a run"):
        resolve(OmegaConf.create({"model": 3}))


def test_first_wrong_value_is_named_with_its_path() -> None:
    cfg = composition()
    cfg.phase.schedule.normal.steps = -1
    with pytest.raises(ConfigError, match=r"^phase\.schedule\.normal\.steps: -1 is not allowed; must be at least 0$"):
        resolve(cfg)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 0.0, -1.0])
def test_numbers_outside_their_limits(value: float) -> None:
    definition = next(field for field in fields(TrainConfig) if field.name == "base_lr")
    with pytest.raises(ConfigError, match=r"^train\.base_lr: .* is not allowed"):
        check_value("train.base_lr", definition, value)
    check_value("train.base_lr", definition, 1e-5)
    assert allowed_range(definition) == "above 0"
