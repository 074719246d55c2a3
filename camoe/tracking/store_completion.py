"""Gives an MLflow store what it lacks of run folders: the run, parameters, records, how it ended, and files.

Which store: the one that is asked for, else the one mlflow.json names, else the one of the run's own configuration.

A run that is sent to a second store is copied: each store has a run of its own, with its own id, and is asked what it
has, so that sending to one, the other and the first again adds nothing. mlflow.json names the last of them. Where its
run's id is known at the other address too, that is the same store under another name, and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from camoe.config import ConfigError
from camoe.config.tracking import TrackingConfig
from camoe.tracking.mlflow_run import REASON, MlflowRun, create_run, find_run, is_deleted, run_by_id
from camoe.tracking.mlflow_store import MLFLOW_STATUS, open_experiment, repair_dead_runs, tracking_uri
from camoe.tracking.provenance import without_passwords
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_status import RunStatus
from camoe.tracking.sweep_parent import PARENT_TAG
from camoe.tracking.upload_mark import UploadMark

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient


class LeftAlone(Exception):
    """The folder is not to be sent, and nothing is wrong; the text says why."""


class StoreAway(Exception):
    """The store did not answer; the text is one line."""


@dataclass(frozen=True)
class Completion:
    """What a store lacked and now has. `status` is the MLflow status that was put right, None when it was true."""

    uri: str
    is_new: bool
    is_adopted: bool  # by the run of its sweep
    records: int
    files: int
    status: str | None

    @property
    def is_nothing(self) -> bool:
        """Whether the store had it all."""
        return not (self.is_new or self.is_adopted or self.records or self.files or self.status)


class StoreCompletion:
    """The stores of many run folders, each opened once."""

    def __init__(self, uri: str | None = None, experiment: str | None = None) -> None:
        self._uri, self._experiment = uri, experiment
        self._open: dict[tuple[str, str], tuple[MlflowClient, str]] = {}
        self._away: dict[str, StoreAway] = {}

    def complete(self, folder: RunFolder, progress: Callable[[int], None], parent: str | None = None) -> Completion:
        """Send what is missing; `progress` hears how many bytes of metrics.jsonl the store has.

        `parent` is the id of its sweep's run; it counts only in the store that has that run.

        Raises LeftAlone for a folder that is not to be sent now, StoreAway for a store that is away, ConfigError for
        one that cannot work, and whatever else MLflow raises. After any of these it can be repeated.
        """
        status = sendable_status(folder)
        try:
            folder.lock()
        except ConfigError as busy:  # taken since
            raise LeftAlone(str(busy).partition(": ")[2]) from busy
        try:
            return self._complete(folder, status, progress, parent)
        finally:
            folder.unlock()

    def _complete(
        self, folder: RunFolder, status: RunStatus, progress: Callable[[int], None], parent: str | None
    ) -> Completion:
        settings = folder.config().get("tracking", {})
        uri = self._uri or self._own_uri(folder, settings)
        client, experiment_id = self._store(uri, self._experiment or settings.get("experiment", "camoe"))
        found = find_run(client, experiment_id, folder)
        if found is not None and is_deleted(found):
            raise LeftAlone(f"its run {found.info.run_id} was deleted in MLflow; restore it there first")
        there = found or create_run(client, experiment_id, folder, status.process)
        run = MlflowRun(folder, uri, client, there, bool(settings.get("every_series")))
        adopted = _adopt(client, there, parent)
        records = run.unsent()
        for sent_bytes in run.send_records():
            progress(sent_bytes)
        repaired = _put_status_right(run, there, status)
        files = run.send_artifacts()
        if status.mlflow_missing:
            folder.write_status(replace(status, mlflow_missing=0))
        return Completion(uri, found is None, adopted, records, files, repaired)

    @staticmethod
    def _own_uri(folder: RunFolder, settings: dict[str, Any]) -> str:
        mark = UploadMark.load(folder.mlflow_file)
        return tracking_uri(TrackingConfig(uri=settings.get("uri") if mark is None else mark.uri))

    def _store(self, uri: str, experiment: str) -> tuple[MlflowClient, str]:
        """The opened store; one that did not answer once is not tried again."""
        if uri in self._away:
            raise self._away[uri]
        if (uri, experiment) not in self._open:
            try:
                self._open[uri, experiment] = open_experiment(uri, experiment)
            except Exception as error:  # whatever MLflow, SQLAlchemy or the network raise
                self._away[uri] = StoreAway(f"MLflow at {without_passwords(uri)}: {first_line(error)}")
                raise self._away[uri] from error
        return self._open[uri, experiment]

    def end_dead_runs(self) -> int:
        """End the other runs of these stores that say RUNNING and are dead; returns how many."""
        return sum(repair_dead_runs(client, experiment_id) for client, experiment_id in self._open.values())

    def forget_connections(self) -> None:
        """Open the stores anew for the next folder, after an error that may mean that one is gone."""
        self._open.clear()


def sendable_status(folder: RunFolder) -> RunStatus:
    """How the run ended; LeftAlone when it has not, or is none that MLflow gets."""
    status = folder.status()
    if status.state == "running":
        elsewhere = "" if status.process.is_here else ", unless it died there, which only that host can tell"
        raise LeftAlone(f"running as {status.process}{elsewhere}")
    job = folder.config().get("job", {}).get("name", "train")
    if job != "train":
        raise LeftAlone(f"made by job={job}, which keeps out of MLflow")
    return status


def first_line(error: BaseException) -> str:
    """What an exception says, short and without passwords."""
    text = str(error).strip()
    return without_passwords(text.splitlines()[0][:200] if text else type(error).__name__)


def _adopt(client: MlflowClient, there: Run, parent: str | None) -> bool:
    if parent is None or PARENT_TAG in there.data.tags or run_by_id(client, parent) is None:
        return False
    client.set_tag(there.info.run_id, PARENT_TAG, parent)
    return True


def _put_status_right(run: MlflowRun, there: Run, status: RunStatus) -> str | None:
    """End the run as its folder says; None when the store knows."""
    wanted = MLFLOW_STATUS[status.state]
    if (there.info.status, there.data.tags.get(REASON)) == (wanted, status.reason):
        return None
    run.set_ended(status.state, status.reason, status.process, at=run.folder.last_sign_of_life())
    return wanted
