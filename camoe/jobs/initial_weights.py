"""Beginning a run from official RWKV-7 weights (train.init_from), and what its records say of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from camoe.config import ConfigError, RunConfig
from camoe.model.language_model import LanguageModel
from camoe.model.rwkv_weights import ImportSummary, load_rwkv_weights, read_rwkv_weights
from camoe.tracking.console import Choice
from camoe.tracking.file_hash import file_sha256
from camoe.tracking.run_folder import RunFolder
from camoe.training.checkpoint import CheckpointStore

FACT = "init_from"  # its name in the provenance


@dataclass(frozen=True)
class InitialWeights:
    """The file that a model begins with, and what became of its tensors."""

    file: str
    sha256: str | None
    noise: float
    summary: ImportSummary

    def fact(self) -> dict[str, Any]:
        """For the provenance: every tensor that was consumed or ignored, every parameter left as initialised."""
        return {"file": self.file, "sha256": self.sha256, "noise": self.noise, **asdict(self.summary)}

    def choice(self) -> Choice:
        """For the first lines of a run."""
        summary = self.summary
        ignored = f" ({', '.join(summary.ignored[:3])}{' ...' if len(summary.ignored) > 3 else ''})"
        return Choice(
            "begins with",
            Path(self.file).name,
            f"{len(summary.consumed)} tensors consumed, {len(summary.ignored)} ignored"
            f"{ignored if summary.ignored else ''}, {len(summary.left_as_initialised)} parameters created; "
            f"noise {self.noise:g} on each RWKV expert",
        )


def load_initial_weights(config: RunConfig, model: LanguageModel, folder: RunFolder | None) -> InitialWeights | None:
    """Fill a fresh model with what train.init_from holds; None without it, and for a run that has a checkpoint.

    `folder` is that of a run to go on with. A file that is missing, does not fit, or is no longer the one that the run
    began with is a ConfigError.
    """
    file = config.train.init_from
    if file is None or (folder is not None and CheckpointStore(folder.checkpoints).latest()[0] is not None):
        return None
    try:
        weights = read_rwkv_weights(file)
        sha256 = file_sha256(file)
        if folder is not None and folder.fact(FACT)["sha256"] != sha256:
            raise ConfigError(f"{file}: not the file any more that {folder.path} began with")
        summary = load_rwkv_weights(model, weights, noise_std=config.train.init_noise, seed=config.seeds.init)
    except ConfigError as refusal:
        where = "" if str(refusal).startswith(file) else f"{file}: "
        raise ConfigError(f"train.init_from: {where}{refusal}") from refusal
    return InitialWeights(file, sha256, config.train.init_noise, summary)
