"""Where a training step's time and memory go, and what the model costs, for any composition."""

from __future__ import annotations

from dataclasses import replace

import torch
from rich.console import Console, RenderableType

from camoe.config import ConfigError, RunConfig
from camoe.config.absolute_paths import with_absolute_paths
from camoe.config.command_record import CommandRecord
from camoe.config.experts import KINDS
from camoe.data.preparation import prepare
from camoe.jobs.new_run_folder import new_run_folder
from camoe.jobs.placement import Placement, model_to_train, place
from camoe.model.cost import RoomCost, room_costs
from camoe.model.language_model import LanguageModel
from camoe.profiling.memory_estimate import estimate_memory
from camoe.profiling.parameter_growth import parameter_growth
from camoe.profiling.report import (
    largest_report,
    memory_report,
    nominal_report,
    plain_text,
    sharding_report,
    size_report,
    time_report,
)
from camoe.profiling.sharding_plan import to_shard
from camoe.profiling.sizing import published_hidden
from camoe.profiling.step_profile import StepProfile, profile_steps
from camoe.tracking.console import ProgressDisplay
from camoe.tracking.shown_path import shown_path
from camoe.tracking.tracker import Tracker
from camoe.training.checkpoint import CheckpointStore
from camoe.training.trainer import Trainer
from camoe.training.training_text import TrainingText, answers_of


def run(config: RunConfig, command: CommandRecord) -> None:
    """Print the report; with job.steps above 0, train that many steps for it and keep report and trace in a folder."""
    if config.resume is not None:
        raise ConfigError("resume: job profile begins with fresh weights; leave out resume")
    placement, console = place(config.kernel, config), Console()
    with torch.device("meta"):
        model = LanguageModel(config)
    costs, estimate = room_costs(model), estimate_memory(config, placement.wkv.name)
    if not config.job.steps:
        _show(console, size_report(costs), *_nominal(config), memory_report(estimate, None), largest_report(estimate))
        _show(console, sharding_report(to_shard(model, estimate)))
        return
    trainer = _trainer(with_absolute_paths(config), command, placement)
    folder = trainer.tracker.folder
    profile = profile_steps(trainer, config.job.steps, folder.path / "trace.json.gz")
    report = [
        size_report(costs),
        memory_report(estimate, profile.peak),
        largest_report(estimate),
        time_report(profile, _flops_of_a_step(trainer, costs, profile)),
    ]
    (folder.path / "profile.txt").write_text(plain_text(report), encoding="utf-8")
    trainer.tracker.finish("finished")
    _show(console, *report)
    print(f"{shown_path(folder.path)}: profile.txt, and trace.json.gz for chrome://tracing or ui.perfetto.dev")


def _nominal(config: RunConfig) -> list[RenderableType]:
    """What would give the nominal size, where the run states one."""
    nominal = config.job.nominal_params
    if nominal is None:
        return []
    published = published_hidden(round(nominal), config.experts.total, config.model.n_embd)
    return [nominal_report(nominal, parameter_growth(config), published)]


def _show(console: Console, *parts: RenderableType) -> None:
    for part in parts:
        console.print(part)


def _trainer(config: RunConfig, command: CommandRecord, placement: Placement) -> Trainer:
    """A trainer in a run folder of its own, which keeps out of MLflow."""
    config = replace(config, name=f"{config.name}-profile", tracking=replace(config.tracking, mlflow=False))
    corpus = prepare(config.data, config.tokenizer)
    answers = answers_of(config, corpus)
    text = TrainingText.of(config, corpus, answers)
    model = model_to_train(config, placement)
    folder = new_run_folder(config, command, corpus, answers, model, placement)
    display = ProgressDisplay(config.phase.total_steps, config.tracking.log_every, folder.log_file)
    checkpoints = CheckpointStore(folder.checkpoints, config.train.keep_checkpoints)
    return Trainer(config, model, text, Tracker.open(folder, config.tracking), checkpoints, display)


def _flops_of_a_step(trainer: Trainer, costs: dict[str, RoomCost], profile: StepProfile) -> dict[str, float]:
    """Forward FLOPs of one step by room; experts and bridge by the load they had, not by an even one."""
    mix, transformer = trainer.model.config.experts, trainer.window.statistics.metrics()["routing/trans_share"]
    even = mix.transformer_prefix / mix.total
    load = dict.fromkeys(KINDS, (1 - transformer) / (1 - even) if even < 1 else 0.0)
    load |= dict.fromkeys(("transformer_prefix", "bridge"), transformer / even if even else 0.0)
    return {name: cost.active_flops * profile.tokens * load.get(name, 1.0) for name, cost in costs.items()}
