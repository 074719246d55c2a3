"""A multirun from its composition to its plan: every arm checked, nothing on disk before that."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig

from camoe.config.arm_composition import ComposedArm, compose_arms
from camoe.config.command_record import CommandRecord, setting_name
from camoe.config.job import ABOUT_MANY_RUNS
from camoe.config.refusal import ConfigError
from camoe.config.run import RunConfig, SeedsConfig
from camoe.config.signature import signature
from camoe.sweeping.arms import expand
from camoe.sweeping.plan import PlannedArm, SweepPlan, sweep_folder
from camoe.sweeping.registered_analysis import check_analysis
from camoe.training.launch import Launch


@dataclass(frozen=True)
class ArmRun:
    """One run of a sweep, ready to start: its place in the plan, its configuration, and the record of its command."""

    planned: PlannedArm
    config: RunConfig
    command: CommandRecord


@dataclass(frozen=True)
class Sweep:
    """A checked multirun. Nothing of it has started, and nothing is on disk. `runs`: those of the plan to run now."""

    folder: Path
    plan: SweepPlan
    runs: tuple[ArmRun, ...]


def plan_sweep(
    config: DictConfig,
    loader: ConfigLoader,
    arms: Mapping[str, Sequence[str]],
    params: Mapping[str, str],
    command_line: Sequence[str],
) -> Sweep:
    """Expand, compose and check every arm. ConfigError for a wrong arm, and for two that are the same run."""
    asked = expand(arms, params, command_line, unnamed=str(config.name), loader=loader)
    if not asked:
        raise ConfigError("-m: no arm is left to run; a list of values is empty")
    composed = compose_arms(config, loader, [arm.overrides for arm in asked])
    planned = [
        PlannedArm(arm.label, _seed(found.config.seeds), arm.overrides, signature(found.config))
        for arm, found in zip(asked, composed, strict=True)
    ]
    first = composed[0].config
    _refuse_what_is_no_arm(found.config for found in composed)
    if first.job.name == "train":
        _refuse_same_runs(planned)
        check_analysis(first.analysis, {*arms, *(arm.arm for arm in planned)})
    name = first.sweep or _name_of_unnamed(planned)
    folder = sweep_folder(first.output_dir, name)
    plan = SweepPlan(
        sweep=name,
        command=shlex.join(sys.argv),
        created=datetime.now().isoformat(timespec="seconds"),
        arms=tuple(planned),
        analysis=asdict(first.analysis),
    )
    runs = [_arm_run(number, planned[number], found, folder) for number, found in enumerate(composed)]
    return Sweep(folder, plan, tuple(run for run, arm in zip(runs, asked, strict=True) if arm.wanted))


def refuse_ranks(environment: Mapping[str, str]) -> None:
    """ConfigError in a process that torchrun or srun started among others: each of them would start the whole sweep."""
    launch = Launch.of(environment)
    if launch is not None:
        raise ConfigError(
            f"-m: this is process {launch.rank} of {launch.count} that {launch.by} started, and each would run the "
            f"whole sweep; start the sweep without {launch.by}, or one run of it without -m"
        )


def _arm_run(number: int, planned: PlannedArm, found: ComposedArm, folder: Path) -> ArmRun:
    labels = (f"sweep={folder.name}", f"arm={QuotedString(planned.arm, Quote.single).with_quotes()}")
    own = [text for text in found.overrides if setting_name(text) not in ("sweep", "arm")]
    command = CommandRecord(
        argv=tuple(sys.argv),
        overrides=(*own, *labels),
        choices=found.choices,
        sweep_dir=str(folder),
        arm=number,
        warnings=found.warnings,
    )
    return ArmRun(planned, replace(found.config, sweep=folder.name, arm=planned.arm), command)


def _seed(seeds: SeedsConfig) -> int | str:
    values = (seeds.init, seeds.data, seeds.router_noise)
    return values[0] if len(set(values)) == 1 else "/".join(map(str, values))


def _refuse_what_is_no_arm(configs: Iterable[RunConfig]) -> None:
    for config in configs:
        if config.job.name in ABOUT_MANY_RUNS:
            raise ConfigError(
                f"job: {config.job.name} looks at many runs itself and is no arm of a sweep; leave out -m"
            )
        if config.resume is not None:
            raise ConfigError(
                f"resume: {config.resume} with -m, but arms begin anew or are found again by their settings; leave out "
                "resume or -m"
            )


def _refuse_same_runs(planned: Sequence[PlannedArm]) -> None:
    seen: dict[str, PlannedArm] = {}
    for arm in planned:
        other = seen.setdefault(arm.signature, arm)
        if other is not arm:
            raise ConfigError(
                f"arm {arm.arm} (seed {arm.seed}): the same run as arm {other.arm} (seed {other.seed}), for no setting "
                "that affects results differs; leave one out"
            )


def _name_of_unnamed(planned: Sequence[PlannedArm]) -> str:
    """The same for the same runs, so that a command issued again finds its sweep."""
    text = " ".join(sorted(arm.signature for arm in planned))
    return f"multirun-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
