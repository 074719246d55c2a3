"""A run folder opened for reading: its configuration, its text and its newest model."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config import ConfigError, RunConfig
from camoe.config.saved import saved_run
from camoe.data.corpus import Corpus
from camoe.data.preparation import prepare
from camoe.jobs.placement import Placement, place
from camoe.model.language_model import LanguageModel
from camoe.tracking.run_folder import RunFolder
from camoe.training.checkpoint import Checkpoint, CheckpointStore


@dataclass(frozen=True)
class TrainedRun:
    """What a finished or interrupted run left, ready to be asked."""

    folder: RunFolder
    config: RunConfig
    corpus: Corpus
    checkpoint: Checkpoint
    model: LanguageModel
    placement: Placement


def open_trained_run(config: RunConfig) -> TrainedRun:
    """The run that `job.run` names, on the device of the present `kernel` group.

    The market takes part in elections as it did when the checkpoint was written.
    """
    if config.job.run is None:
        raise ConfigError(f"job.run: job {config.job.name} needs a run folder, e.g. job.run=outputs/<date>/<run>")
    folder = RunFolder.open(config.job.run)
    saved = saved_run(folder.config(), str(folder.config_file))
    checkpoint, damaged = CheckpointStore(folder.checkpoints).latest()
    if checkpoint is None:
        what = "only damaged checkpoints" if damaged else "no checkpoint yet"
        raise ConfigError(f"job.run: {folder.path} has {what}")
    placement = place(config.kernel)
    corpus = prepare(saved.data, saved.tokenizer)
    model = LanguageModel(saved).to(placement.device)
    model.use_wkv_backend(placement.wkv.name, config.kernel.chunk_len)
    model.load_state_dict({**checkpoint.tensors("model"), **checkpoint.values()["model"]})
    return TrainedRun(folder, saved, corpus, checkpoint, model, placement)
