"""What job=replay_batch needs to run a step again that met a number that is not finite.

RUN/diagnostics/step_XXXXXXXX/
    checkpoints/        the state before the step
    batch.safetensors   the step's tokens
    finding.json        the first tensor that was not finite
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from camoe.config import ConfigError
from camoe.tracking.atomic_file import read_json, write_json
from camoe.training.checkpoint import CheckpointStore, Snapshot
from camoe.training.non_finite import Finding


@dataclass(frozen=True)
class Evidence:
    """State before the step, its tokens [G,T+1], and what was found; `place` is its folder."""

    place: Path
    before: Snapshot
    window: NDArray[np.int64]
    finding: Finding

    @classmethod
    def newest(cls, run: Path) -> Evidence:
        """Of a run folder; ConfigError where it has none."""
        kept = sorted((run / "diagnostics").glob("step_*"))
        if not kept:
            raise ConfigError(f"job.run: {run} has kept no step; diagnostics=nan keeps the first that is not finite")
        checkpoint, damaged = CheckpointStore(kept[-1] / "checkpoints").latest()
        if checkpoint is None:
            raise ConfigError(f"job.run: {kept[-1]} is damaged: {'; '.join(damaged)}")
        window = load_file(kept[-1] / "batch.safetensors")["window"].numpy()
        return cls(kept[-1], checkpoint.snapshot(), window, _finding(read_json(kept[-1] / "finding.json")))


def keep_evidence(run: Path, before: Snapshot, window: NDArray[np.int64], finding: Finding) -> Path:
    """Write the folder under another name, then give it its own; an older one of the step is replaced."""
    place = run / "diagnostics" / f"step_{finding.step:08d}"
    unfinished = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    save_file({"window": torch.from_numpy(window)}, unfinished / "batch.safetensors")
    write_json(unfinished / "finding.json", asdict(finding))
    CheckpointStore(unfinished / "checkpoints").save(finding.step - 1, before)
    shutil.rmtree(place, ignore_errors=True)
    unfinished.rename(place)
    return place


def copied(snapshot: Snapshot) -> Snapshot:
    """In memory of its own on the CPU, so that the step that follows does not change it."""
    tensors = {
        name: {key: value.detach().to("cpu", copy=True) for key, value in content.items()}
        for name, content in snapshot.tensors.items()
    }
    return replace(snapshot, tensors=tensors)


def _finding(saved: dict[str, Any]) -> Finding:
    return Finding(**{**saved, "shape": tuple(saved["shape"]), "first_at": tuple(saved["first_at"])})
