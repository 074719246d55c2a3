"""What the user asked for: the command line and the choices that Hydra made of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf


@dataclass(frozen=True, kw_only=True)
class CommandRecord:
    """The command of one job; of a multirun, the arm's share of it."""

    argv: tuple[str, ...]
    overrides: tuple[str, ...]
    choices: dict[str, str]  # option by group, Hydra's own groups left out
    sweep_dir: str | None  # Hydra's folder of a multirun
    arm: int | None  # this job's number in a multirun
    warnings: tuple[str, ...] = ()  # settings without effect, one line each
    issued: datetime = field(default_factory=datetime.now)


def setting_name(override: str) -> str:
    """The dotted setting, or the group, that an override is about: `+a.b=1` and `~a.b` give `a.b`."""
    return override.lstrip("+~").partition("=")[0]


def overrides_of(hydra: DictConfig) -> list[str]:
    """The overrides that are not Hydra's own, as written: an interpolation in one is not looked up."""
    return cast(list[str], OmegaConf.to_container(hydra.overrides.task, resolve=False))


def own_choices(hydra: DictConfig) -> dict[str, str]:
    """The option chosen in each group, Hydra's own groups left out."""
    return {group: option for group, option in hydra.runtime.choices.items() if not group.startswith("hydra/")}


def current_command(warnings: tuple[str, ...] = ()) -> CommandRecord:
    """The record of the job that Hydra is running."""
    hydra = cast(DictConfig, HydraConfig.get())
    multirun = hydra.mode == RunMode.MULTIRUN
    return CommandRecord(
        argv=tuple(sys.argv),
        overrides=tuple(overrides_of(hydra)),
        choices=own_choices(hydra),
        sweep_dir=str(hydra.sweep.dir) if multirun else None,
        arm=None if OmegaConf.is_missing(hydra.job, "num") else int(hydra.job.num),
        warnings=warnings,
    )
