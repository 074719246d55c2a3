"""A run folder opened for reading: its configuration, its text and its newest model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from camoe.config import ConfigError, RunConfig
from camoe.config.command_record import CommandRecord
from camoe.config.saved import saved_run
from camoe.config.signature import result_settings
from camoe.data.corpus import Corpus
from camoe.data.preparation import prepare
from camoe.jobs.foreign_settings import refuse_foreign
from camoe.jobs.placement import Placement, place
from camoe.model.language_model import LanguageModel
from camoe.tracking.run_folder import RunFolder
from camoe.training.checkpoint import CheckpointStore

OWN_SETTINGS = {"evaluate": ("job", "kernel", "evaluation"), "generate": ("job", "kernel", "seed")}
ATTEMPTS = 3  # each loses only to a trainer that wrote another checkpoint meanwhile


@dataclass(frozen=True)
class TrainedRun:
    """What a finished or interrupted run left, ready to be asked; `step` optimiser steps are done."""

    folder: RunFolder
    config: RunConfig
    corpus: Corpus
    step: int
    model: LanguageModel
    placement: Placement


@dataclass(frozen=True)
class SavedModel:
    """A checkpoint's model in memory, safe from being pruned, and the settings it was trained with."""

    step: int
    state: dict[str, Any]
    settings: Any


def open_trained_run(config: RunConfig, command: CommandRecord) -> TrainedRun:
    """The run that `job.run` names, on the device of the present `kernel` group.

    The market takes part in elections as it did when the checkpoint was written. Refuses settings that come from the
    run's own configuration.
    """
    if config.job.run is None:
        raise ConfigError(f"job.run: job {config.job.name} needs a run folder, e.g. job.run=outputs/<date>/<run>")
    refuse_foreign(command.overrides, OWN_SETTINGS[config.job.name], f"job.run: {config.job.run} is read with")
    folder = RunFolder.open(config.job.run)
    run = saved_run(folder.config(), str(folder.config_file))
    saved = newest_model(CheckpointStore(folder.checkpoints), config.job.weights)
    if saved.settings != result_settings(run):
        raise ConfigError(f"{folder.config_file}: not the configuration that the run's checkpoint was made with")
    placement = place(config.kernel, run, one_token=config.job.name == "generate")
    corpus = prepare(run.data, run.tokenizer)
    refuse_other_text(folder, corpus)
    model = LanguageModel(run).to(placement.device)
    placement.apply(model, config.kernel)
    model.load_state_dict(saved.state)
    return TrainedRun(folder, run, corpus, saved.step, model, placement)


def refuse_other_text(folder: RunFolder, corpus: Corpus) -> None:
    """ConfigError when the run's text or tokenizer has changed since it was trained."""
    if folder.fact("data") != corpus.fingerprint:
        raise ConfigError(f"{folder.path}: trained on other text than its data and tokenizer settings give now")


def newest_model(store: CheckpointStore, weights: str = "raw") -> SavedModel:
    """The model of the newest whole checkpoint, also while a trainer writes new ones and removes old ones.

    `weights`: "averaged" puts their average in place of the model's own; its market stays.
    Raises ConfigError when there is none.
    """
    damaged: list[str] = []
    for _ in range(ATTEMPTS):
        try:
            checkpoint, damaged = store.latest()
            if checkpoint is not None:
                values = checkpoint.values()
                averaged = checkpoint.tensors("averaged") if weights == "averaged" else {}
                if weights == "averaged" and not averaged:
                    raise ConfigError(
                        f"job.weights: {store.root.parent} has no averaged weights after step {checkpoint.step}"
                    )
                state = {**checkpoint.tensors("model"), **averaged, **values["model"]}
                return SavedModel(checkpoint.step, state, values["config"])
        except FileNotFoundError:  # removed between the look and the reading
            continue
        if not damaged:
            break
    what = "only damaged checkpoints" if damaged else "no checkpoint yet"
    raise ConfigError(f"job.run: {store.root.parent} has {what}")
