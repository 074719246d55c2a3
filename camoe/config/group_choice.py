"""Refusing a choice of option that Hydra would take differently from what the user can mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override

from camoe.config.command_record import setting_name
from camoe.config.option_catalog import groups, mechanisms, options
from camoe.config.refusal import ConfigError, not_an_option

MECHANICAL = "calibrated"  # the one economy that is chosen mechanism by mechanism


def visible(names: Iterable[str]) -> list[str]:
    """Options a user may choose; those with a leading underscore are schemas."""
    return [name for name in names if not name.startswith("_")]


def check_group_override(override: Override, allowed: Sequence[str]) -> None:
    """Refuses an override of a group that names no option of it, or tries more than to choose one."""
    group, value = override.key_or_group, override.value()
    if override.package is not None:
        raise ConfigError(f"{override.get_key_element()}: a group keeps its place; write {group}=OPTION")
    if (group in groups() or group in mechanisms()) and override.is_delete():
        raise ConfigError(f"~{group}: a run needs this group; choose one of {', '.join(sorted(allowed))}")
    if not override.is_delete() and (not isinstance(value, str) or value not in allowed):
        raise not_an_option(group, "null" if value is None else value, allowed)
    if (group in groups() or group in mechanisms()) and (override.is_add() or override.is_force_add()):
        raise ConfigError(f"{override.get_key_element()}: this group is chosen already; write {group}={value}")


def check_mechanism(override: Override, economy: object) -> None:
    """Refuses to choose a mechanism of an economy other than the chosen one."""
    if override.key_or_group in mechanisms() and economy != MECHANICAL:
        raise ConfigError(
            f"{override.key_or_group}: a mechanism of economy={MECHANICAL}, but economy={economy} is chosen; "
            f"add economy={MECHANICAL}, or leave it out"
        )


def check_choices(choices: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Refuses a group chosen twice, not at all, as a list, or by the name of a schema.

    Hydra takes the last of two choices, and leaves a deleted group at the schema's defaults, without a word.
    """
    keys = Counter(map(setting_name, overrides))
    for group in (*groups(), *(name for name in mechanisms() if choices.get("economy") == MECHANICAL)):
        if keys[group] > 1:
            raise ConfigError(f"{group}: chosen {keys[group]} times; choose one option")
        if f"~{group}" in (override.partition("=")[0] for override in overrides):
            raise ConfigError(f"~{group}: a run needs this group; choose one of {', '.join(options(group))}")
        choice = choices.get(group)
        if not isinstance(choice, str):
            raise ConfigError(f"{group}: choose exactly one option (allowed: {', '.join(options(group))})")
        if choice.startswith("_"):
            raise not_an_option(group, choice, options(group))
