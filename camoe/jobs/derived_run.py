"""A run folder made from another one's checkpoint: whole or not there, and it says what it was made from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from camoe.config import ConfigError
from camoe.tracking.atomic_file import write_json
from camoe.tracking.run_folder import REQUIRED, RunFolder
from camoe.tracking.run_status import RunStatus
from camoe.training.checkpoint import CheckpointStore, Snapshot

GOES_ALONG = ("overrides.yaml", "uncommitted.diff", "metrics.jsonl", "ledger.jsonl")
"""What else a run needs to go on; mlflow.json is not among it, so that the copy becomes an MLflow run of its own."""
WEIGHTS_ONLY = "weights_only"


def place_of_derived(output: str | None, action: str) -> Path:
    """Where the folder will lie; ConfigError before any work where it cannot."""
    if output is None:
        raise ConfigError(f"job.output: null with job.checkpoint.action {action}, which makes a run folder; give one")
    place = Path(output).absolute()
    if place.exists() or not place.parent.is_dir():
        why = "exists already" if place.exists() else "lies in no folder that exists"
        raise ConfigError(f"job.output: {output} {why}; name a new folder")
    return place


def derive_run(
    source: RunFolder, place: Path, step: int, snapshot: Snapshot, how: str, *, origins: Sequence[str], trains: bool
) -> None:
    """Copy the run with `snapshot` as its only checkpoint; the folder gets its name when all of it is written.

    how: the action. origins: the checkpoints it was made from. trains: whether the copy can go on training.
    """
    unfinished = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for name in (*REQUIRED, *(GOES_ALONG if trains else ())):
        if (source.path / name).is_file():
            shutil.copy(source.path / name, unfinished / name)
    copy = RunFolder(unfinished)
    copy.samples.mkdir()
    made = {"made_by": f"job=checkpoint {how}", "made_from": list(origins)}
    write_json(copy.provenance_file, {**source.provenance(), **made, **({} if trains else {WEIGHTS_ONLY: True})})
    copy.write_status(RunStatus("killed", f"{how} of {origins[0]}") if trains else RunStatus("finished", how))
    CheckpointStore(copy.checkpoints).save(step, snapshot)
    copy.flush()
    unfinished.rename(place)


def refuse_weights_only(folder: RunFolder) -> None:
    """ConfigError for a folder that holds a model and no state of training."""
    facts = folder.provenance()
    if facts.get(WEIGHTS_ONLY):
        raise ConfigError(
            f"resume: {folder.path} holds weights and market only ({facts['made_by']}); "
            f"resume {Path(facts['made_from'][0]).parents[1]}, which it was made from"
        )
