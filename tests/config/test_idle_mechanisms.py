"""Settings that a mechanism's choice makes idle are named, and only then."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields

import pytest
from compositions import run_config

from camoe.config import RunConfig
from camoe.config.calibrated import CalibratedConfig
from camoe.config.idle_mechanisms import IDLE_MECHANISMS, IdleSettings
from camoe.config.without_effect import without_effect


@pytest.fixture(scope="module")
def base(hydra: None) -> RunConfig:  # noqa: ARG001 (Hydra must be up)
    return run_config("economy=calibrated")


def choose(run: RunConfig, switch: str, value: str) -> RunConfig:
    chosen, (group, _, name) = deepcopy(run), switch.partition(".")
    setattr(getattr(chosen.economy, group), name, value)
    return chosen


def options_of(switch: str) -> tuple[str, ...]:
    group, _, name = switch.partition(".")
    (definition,) = (field for field in fields(getattr(CalibratedConfig(), group)) if field.name == name)
    return definition.metadata["options"]


@pytest.mark.parametrize("idle", IDLE_MECHANISMS, ids=lambda idle: f"{idle.switch}:{idle.settings[0]}")
def test_named_when_idle_and_quiet_otherwise(base: RunConfig, idle: IdleSettings) -> None:
    chosen = [f"economy.{name}" for name in idle.settings]
    for value in options_of(idle.switch):
        why = f" has no effect: economy.{idle.switch} is {value}"
        expected = [name + why for name in chosen] if value in idle.off else []
        said = without_effect(choose(base, idle.switch, value), chosen)
        assert [line for line in said if line.endswith(f"economy.{idle.switch} is {value}")] == expected
