"""A checkpoint opened by the name of its run folder, or by its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from camoe.config import ConfigError, RunConfig
from camoe.config.refusal import refused_as
from camoe.config.saved import saved_run
from camoe.config.signature import result_settings
from camoe.model.language_model import LanguageModel
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.shown_path import shown_path
from camoe.training.checkpoint import Checkpoint, CheckpointStore, Snapshot


@dataclass(frozen=True)
class OpenedCheckpoint:
    """One whole checkpoint, the run that it belongs to, and the run's configuration."""

    run: RunFolder
    config: RunConfig
    checkpoint: Checkpoint

    @classmethod
    def named(cls, path: str, setting: str = "job.run") -> OpenedCheckpoint:
        """The newest of a run folder, or the one in RUN/checkpoints/step_N; ConfigError where there is no whole one.

        `setting` is what named it.
        """
        place = Path(path).absolute()
        by_step = place.parent.name == "checkpoints"
        run = RunFolder.open(place.parents[1] if by_step else place, setting)
        store = CheckpointStore(run.checkpoints)
        checkpoint, problems = store.named(place.name) if by_step else store.latest()
        if checkpoint is None:
            why = "; ".join(problems) or "it has no checkpoint yet"
            raise ConfigError(f"{setting}: {path} holds no whole checkpoint: {why}")
        config = saved_run(run.config(), str(run.config_file))
        with refused_as(f"{setting}: {path} holds a checkpoint that cannot be read"):
            made_with = checkpoint.values()["config"]
        if made_with != result_settings(config):
            raise ConfigError(f"{run.config_file}: not the configuration that the run's checkpoint was made with")
        return cls(run, config, checkpoint)

    @cached_property
    def snapshot(self) -> Snapshot:
        """All that it holds, on the CPU."""
        with refused_as(f"{self}: not a checkpoint that can be read"):
            return self.checkpoint.snapshot()

    def weights(self, which: str) -> dict[str, Tensor]:
        """The model's tensors, `raw` or with the `averaged` weights in place; ConfigError where there is no average."""
        averaged = dict(self.snapshot.tensors.get("averaged", {})) if which == "averaged" else {}
        if which == "averaged" and not averaged:
            raise ConfigError(f"job.weights: {self} has no averaged weights")
        return {**self.snapshot.tensors["model"], **averaged}

    def architecture(self) -> LanguageModel:
        """The model of the configuration without its numbers."""
        with torch.device("meta"):
            return LanguageModel(self.config)

    def __str__(self) -> str:
        """Its folder, short."""
        return str(shown_path(self.checkpoint.folder))
