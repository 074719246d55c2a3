"""Refusing settings that a job would silently ignore, because it reads a run that has its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from camoe.config import ConfigError
from camoe.config.command_record import setting_name


def refuse_foreign(overrides: Sequence[str], own: Collection[str], what: str, advice: str = "") -> None:
    """ConfigError naming every override outside `own`: settings, or groups for all of their settings.

    `what` says which run has a configuration of its own, `advice` what else the user may do.
    """
    foreign = [override for override in overrides if not {setting_name(override), _group(override)} & {*own}]
    if foreign:
        raise ConfigError(f"{what} its own configuration; leave out {', '.join(foreign)}{advice}")


def _group(override: str) -> str:
    return setting_name(override).partition(".")[0]
