"""Rules of the phase schedule: no phase trains on what does not exist."""

from __future__ import annotations

from dataclasses import fields

import pytest

from camoe.config import ConfigError
from camoe.config.economy import V21Config
from camoe.config.phase import PhaseConfig, PhaseScheduleConfig
from camoe.economy.v21 import CRITICWARM


def test_an_objective_on_data_that_it_is_not_defined_on_is_refused() -> None:
    with pytest.raises(ConfigError) as refusal:
        PhaseScheduleConfig(schedule={"late": PhaseConfig(steps=5, data_profile="sft")})
    message = str(refusal.value)
    assert message.startswith("phase.schedule.late.data_profile: sft with objective language_model")
    assert "must be pretrain" in message
    assert "\n" not in message


def test_a_phase_without_steps_counts_for_nothing() -> None:
    schedule = {"normal": PhaseConfig(steps=3), "sft": PhaseConfig(objective="instruction", data_profile="sft")}
    assert PhaseScheduleConfig(schedule=schedule).total_steps == 3


def test_the_one_name_with_a_meaning_is_documented() -> None:
    (definition,) = fields(PhaseScheduleConfig)
    for text in (definition.metadata["help"], PhaseScheduleConfig.__doc__ or ""):
        assert CRITICWARM in text
    settings = {field.name for field in fields(V21Config) if field.name.startswith(CRITICWARM)}
    assert [name for name in settings if name not in (PhaseScheduleConfig.__doc__ or "")] == []
