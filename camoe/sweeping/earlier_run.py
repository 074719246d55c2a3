"""What a run of the same settings, text and initial weights, made before, means for the one that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from camoe.config import ConfigError, RunConfig
from camoe.config.absolute_paths import with_absolute_paths
from camoe.config.saved import saved_run
from camoe.config.signature import result_settings, signature
from camoe.sweeping.slurm_queue import SlurmQueue
from camoe.tracking.file_hash import file_sha256
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_index import RunIndex
from camoe.tracking.run_status import RunStatus
from camoe.tracking.shown_path import shown_path

Verdict = Literal["skip", "go on", "refuse"]


@dataclass(frozen=True)
class EarlierRun:
    """A run of the same settings and text, and how it stands."""

    folder: RunFolder
    status: RunStatus

    def verdict(self, retry: str) -> Verdict:
        """Skip what is finished, go on with what was interrupted, refuse what is going on or failed.

        With `retry` "failed", a failed run goes on from its newest checkpoint too.
        """
        if self.status.state == "finished":
            return "skip"
        if self.status.state == "killed" or (self.status.state == "failed" and retry == "failed"):
            return "go on"
        return "refuse"

    def line(self) -> str:
        """What a person should know of it, in a line."""
        where = shown_path(self.folder.path)
        if self.status.state == "finished":
            return f"finished already: {where} (force=true runs it again)"
        if self.status.state == "failed":
            return f"failed before: {where}, {self.status.reason}; retry=failed goes on with it, force=true begins anew"
        if self.status.state == "running":
            return f"running already: {where}, {self.status.process}; force=true runs it a second time"
        return f"going on with {where}"


def earlier_run(
    config: RunConfig, issued: datetime, fingerprint: Callable[[RunConfig], str | None], index: RunIndex | None = None
) -> EarlierRun | None:
    """The finished run of these settings, else the newest one, else None.

    The signature in a folder's name only leads there: settings, text and initial weights are compared. `fingerprint`
    gives the text's; it is asked only when a folder's settings agree, and None means that the text is another one. With
    `force` only runs made since the command was `issued` count: a job that is started again finds its own.
    """
    paths = (index or RunIndex(config.output_dir)).signed(signature(config), since=issued if config.force else None)
    same = [folder for path in paths if (folder := _same_settings(path, config)) is not None]
    if config.train.init_from and same:
        weights = file_sha256(config.train.init_from)
        same = [folder for folder in same if folder.provenance().get("init_from", {}).get("sha256") == weights]
    if not same:
        return None
    text = fingerprint(with_absolute_paths(config))
    runs = [EarlierRun(folder, _status(folder)) for folder in same if folder.provenance().get("data") == text]
    return next((run for run in runs if run.status.state == "finished"), next(iter(runs), None))


def _status(folder: RunFolder) -> RunStatus:
    """How the run stands; SLURM is asked for one that says running on another host."""
    status = folder.status()
    job = None if status.process.is_here else status.process.slurm_job
    if status.state == "running" and job is not None and SlurmQueue().is_over(job):
        return replace(status, state="killed", reason=f"SLURM job {job} is over")
    return status


def _same_settings(path: Path, config: RunConfig) -> RunFolder | None:
    try:
        folder = RunFolder.open(path)
        saved = saved_run(folder.config(), str(folder.config_file))
    except ConfigError:  # its process died while the folder was made, or another version made it
        return None
    return folder if result_settings(saved) == result_settings(config) else None
