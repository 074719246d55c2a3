"""Settings of a multirun: which runs it is made of, and how many go on at once. Hydra's groups, not a run's."""

from __future__ import annotations

from dataclasses import dataclass, field

PLUGINS = "hydra_plugins.camoe_plugins"  # the only package that Hydra takes plugins from


@dataclass(kw_only=True)
class ArmsSweeperConfig:
    """hydra/sweeper=arms: every arm of a sweep file, with every value that is swept."""

    _target_: str = f"{PLUGINS}.ArmsSweeper"
    arms: dict[str, list[str]] = field(default_factory=dict)  # overrides of each arm, by the arm's name
    params: dict[str, str] = field(default_factory=dict)  # values to sweep, as on the command line: {seed: "1,2,3"}


@dataclass(kw_only=True)
class LocalLauncherConfig:
    """hydra/launcher=local: every run in a process of its own on this machine."""

    _target_: str = f"{PLUGINS}.LocalLauncher"
    n_jobs: int = 1  # runs at once


SWEEPERS = {"arms": ArmsSweeperConfig}
LAUNCHERS = {"local": LocalLauncherConfig}
