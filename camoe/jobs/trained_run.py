"""A run folder or an exported file opened for reading: its configuration, its text and its newest model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from camoe.config import ConfigError, RunConfig
from camoe.config.command_record import CommandRecord
from camoe.config.refusal import refused_as
from camoe.config.saved import saved_run
from camoe.config.signature import result_settings
from camoe.data.answer_data import SETTINGS, AnswerData
from camoe.data.corpus import Corpus
from camoe.data.preparation import prepare
from camoe.inference.export.exported_model import ModelWithOrigin, Origin, read_export
from camoe.jobs.foreign_settings import refuse_foreign
from camoe.jobs.placement import Placement, place
from camoe.model.language_model import LanguageModel
from camoe.tracking.run_folder import RunFolder
from camoe.training.checkpoint import CheckpointStore

_OF_AN_EVALUATION = ("job", "kernel", "evaluation")
OWN_SETTINGS = {
    "evaluate": _OF_AN_EVALUATION,
    "export": _OF_AN_EVALUATION,
    "export_rwkv": ("job", "kernel"),
    "generate": ("job", "kernel", "seed"),
}
ATTEMPTS = 3  # each loses only to a trainer that wrote another checkpoint meanwhile


@dataclass(frozen=True)
class TrainedRun:
    """What a finished or interrupted run left, in its folder or in an exported file, ready to be asked."""

    source: Path
    config: RunConfig
    origin: Origin
    model: LanguageModel
    placement: Placement

    @cached_property
    def corpus(self) -> Corpus:
        """The text that it was trained on; ConfigError where its settings give other text now."""
        corpus = prepare(self.config.data, self.config.tokenizer)
        refuse_other_text(self.origin.text, corpus, self.source)
        return corpus

    def result(self, name: str) -> Path:
        """Where to keep what a job finds: in the run folder, or beside the exported file."""
        path = self.source / name if self.source.is_dir() else Path(f"{self.source}.{name}")
        path.parent.mkdir(exist_ok=True)
        return path


@dataclass(frozen=True)
class SavedModel:
    """A checkpoint's model in memory, safe from being pruned, and the settings it was trained with."""

    step: int
    state: dict[str, Any]
    settings: Any


def open_trained_run(config: RunConfig, command: CommandRecord) -> TrainedRun:
    """The run folder or exported file that `job.run` names, on the device of the present `kernel` group.

    The market takes part in elections as it did when the weights were saved. Refuses settings that come from the
    run's own configuration.
    """
    if config.job.run is None:
        raise ConfigError(f"job.run: job {config.job.name} needs a run folder, e.g. job.run=outputs/<date>/<run>")
    refuse_foreign(command.overrides, OWN_SETTINGS[config.job.name], f"job.run: {config.job.run} is read with")
    source = Path(config.job.run)
    weights = config.job.weights
    saved = _exported_to(source, weights) if source.is_file() else _left_in(RunFolder.open(source, "job.run"), weights)
    placement = place(config.kernel, saved.config, one_token=config.job.name == "generate")
    with refused_as(f"job.run: {source} holds weights that do not fit its configuration"):
        model = saved.model().to(placement.device)
    placement.apply(model, config.kernel)
    return TrainedRun(source.resolve(), saved.config, saved.origin, model, placement)


def _exported_to(file: Path, weights: str) -> ModelWithOrigin:
    """The weights that a file holds; ConfigError when the average is asked of one that holds no average."""
    saved = read_export(file)
    if weights == "averaged" != saved.origin.weights:
        raise ConfigError(
            f"job.weights: {file} holds {saved.origin.weights} weights; export the run with averaged ones"
        )
    return saved


def _left_in(folder: RunFolder, weights: str) -> ModelWithOrigin:
    """The model of a run's newest checkpoint, with the weights that were asked for."""
    run = saved_run(folder.config(), str(folder.config_file))
    saved = newest_model(CheckpointStore(folder.checkpoints), weights)
    if saved.settings != result_settings(run):
        raise ConfigError(f"{folder.config_file}: not the configuration that the run's checkpoint was made with")
    corpus = prepare(run.data, run.tokenizer)
    refuse_other_text(folder.fact("data"), corpus, folder.path)
    return ModelWithOrigin(run, Origin(saved.step, weights, corpus.fingerprint, corpus.tokenizer), saved.state)


def refuse_other_text(fingerprint: str, corpus: Corpus, where: Path) -> None:
    """ConfigError when a run's text or tokenizer has changed since it was trained."""
    if fingerprint != corpus.fingerprint:
        raise ConfigError(f"{where}: trained on other text than its data and tokenizer settings give now")


def refuse_other_answers(fingerprints: Mapping[str, str], answers: Mapping[str, AnswerData], where: Path) -> None:
    """ConfigError when a run's dialogues or pairs have changed since it was trained."""
    for profile, data in answers.items():
        if fingerprints[profile] != data.fingerprint:
            raise ConfigError(f"{where}: trained on other {profile} data than its {SETTINGS[profile]} gives now")


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
        except ConfigError:
            raise
        except Exception as error:  # whatever a damaged file makes its reader raise
            raise ConfigError(
                f"job.run: {store.root.parent} has a checkpoint that cannot be read ({type(error).__name__})"
            ) from error
        if not damaged:
            break
    what = "only damaged checkpoints" if damaged else "no checkpoint yet"
    raise ConfigError(f"job.run: {store.root.parent} has {what}")
