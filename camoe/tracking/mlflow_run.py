"""One run in an MLflow store, made equal to what its run folder says.

Every call may raise what MLflow raises, and may be repeated after that: nothing is sent twice. The store itself is
asked what it has, since a process can die between sending something and writing down that it did.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from camoe.tracking.mlflow_records import LONGEST_VALUE, WITNESS, StoredRecords, batches, flatten
from camoe.tracking.mlflow_store import MLFLOW_STATUS, milliseconds, process_tags
from camoe.tracking.process_identity import ProcessIdentity
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_status import State
from camoe.tracking.sweep_parent import parent_tags
from camoe.tracking.upload_mark import RecordTail, UploadMark

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

PARAMS_PER_BATCH = 100
RUN_KEY, REASON, FILES_SENT = "camoe.run", "camoe.reason", "camoe.files_sent"  # tags
ARTIFACTS = (
    "config.yaml",
    "provenance.json",
    "metrics.jsonl",
    "ledger.jsonl",
    "train.log",
    "documents.parquet",
    "evaluation.json",
    "evaluation_positions.npz",
    "summary.txt",
    "summary.svg",
    "report.html",
    "samples",
)


class MlflowRun:
    """A run folder and its run in one store; `find_run` or `create_run` gives the latter."""

    def __init__(self, folder: RunFolder, uri: str, client: MlflowClient, run: Run, every_series: bool) -> None:
        self.folder, self.run_id = folder, str(run.info.run_id)
        self._client, self._every_series = client, every_series
        self._tail = RecordTail(folder.metrics_file)
        self._files_sent = float(run.data.tags.get(FILES_SENT, 0))  # seconds since 1970
        earlier = UploadMark.load(folder.mlflow_file)
        known = earlier is not None and earlier.run_id == self.run_id
        self._mark = replace(earlier, uri=uri) if earlier and known else UploadMark(uri, self.run_id)
        self._mark.save(folder.mlflow_file)
        self._send_params(run.data.params)
        self._stored = StoredRecords(client.get_metric_history(self.run_id, WITNESS))
        self._pass_by_stored()

    def send_records(self) -> Iterator[int]:
        """Send what the file has beyond the store; yields how many bytes of the file the store has by then."""
        for batch, position in batches(self._tail, self._stored, self._every_series):
            if batch:
                self._client.log_batch(self.run_id, metrics=batch)
            self._tail.position = position
            self._save_mark()
            yield position.offset

    def unsent(self) -> int:
        """How many complete records the store does not have."""
        return self._tail.unsent(self._mark)

    def set_running(self, process: ProcessIdentity) -> None:
        """The run goes on under this process."""
        self._set_tags({**run_tags(self.folder, process), REASON: ""})
        self._client.update_run(self.run_id, status="RUNNING")

    def set_ended(self, state: State, reason: str, process: ProcessIdentity, at: float | None = None) -> None:
        """How the run ended, under which process, and when (seconds since 1970; now when not given)."""
        self._set_tags({**run_tags(self.folder, process), REASON: reason[:LONGEST_VALUE]})
        self._client.set_terminated(self.run_id, MLFLOW_STATUS[state], milliseconds(at))

    def send_artifacts(self) -> int:
        """Send the files that the store lacks, or that changed since all were sent last; returns how many."""
        now, stored = time.time(), self._stored_files()
        files = [path for path in artifact_files(self.folder) if self._is_news(path, stored)]
        for path in files:
            place = path.parent.relative_to(self.folder.path).as_posix()
            self._client.log_artifact(self.run_id, str(path), None if place == "." else place)
        if files:
            self._client.set_tag(self.run_id, FILES_SENT, repr(now))
            self._files_sent = now
        return len(files)

    def _send_params(self, there: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        params = [Param(name, value) for name, value in flatten(self.folder.config()).items() if name not in there]
        for start in range(0, len(params), PARAMS_PER_BATCH):
            self._client.log_batch(self.run_id, params=params[start : start + PARAMS_PER_BATCH])

    def _set_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def _pass_by_stored(self) -> None:
        for _, position in self._tail.ahead():
            if not self._stored.has(position):
                break
            self._tail.position = position
        self._save_mark()

    def _save_mark(self) -> None:
        step, count = self._tail.position.step, self._tail.position.count
        if (step, count) != (self._mark.step, self._mark.count):
            self._mark = replace(self._mark, step=step, count=count)
            self._mark.save(self.folder.mlflow_file)

    def _stored_files(self) -> dict[str, int]:
        """Size in bytes of every artifact, by its path below the run."""
        places = {path.parent.relative_to(self.folder.path).as_posix() for path in artifact_files(self.folder)}
        listed = [item for place in places for item in self._client.list_artifacts(self.run_id, place.lstrip("."))]
        return {item.path: item.file_size or 0 for item in listed}

    def _is_news(self, path: Path, stored: Mapping[str, int]) -> bool:
        facts = path.stat()
        same_size = stored.get(path.relative_to(self.folder.path).as_posix()) == facts.st_size
        return not same_size or facts.st_mtime > self._files_sent


def find_run(client: MlflowClient, experiment_id: str, folder: RunFolder) -> Run | None:
    """The folder's run in this store, also a deleted one: the one mlflow.json names, else the one with its key."""
    from mlflow.entities import ViewType

    mark = UploadMark.load(folder.mlflow_file)
    if mark is not None and (run := run_by_id(client, mark.run_id)):
        return run
    key = f"tags.`{RUN_KEY}` = '{run_key(folder)}'"
    found = client.search_runs([experiment_id], key, run_view_type=ViewType.ALL)
    return min(found, key=lambda run: (is_deleted(run), run.info.start_time), default=None)


def create_run(client: MlflowClient, experiment_id: str, folder: RunFolder, process: ProcessIdentity) -> Run:
    """A new run for the folder; it counts as running under that process."""
    return client.create_run(
        experiment_id,
        start_time=milliseconds(folder.provenance().get("process_started")),
        tags=run_tags(folder, process),
        run_name=folder.path.name,
    )


def is_deleted(run: Run) -> bool:
    """Whether somebody deleted the run in MLflow, which keeps it for a while."""
    return bool(run.info.lifecycle_stage == "deleted")


def run_key(folder: RunFolder) -> str:
    """The same for a run in every store and wherever its folder is moved; no other run has it."""
    facts = folder.provenance()
    return f"{folder.path.parent.name}/{folder.path.name} {facts.get('host', '')} {facts.get('process_started', '')}"


def run_tags(folder: RunFolder, process: ProcessIdentity) -> dict[str, str]:
    """Where the run came from, as far as that is known by now."""
    facts = folder.provenance()
    plain = {f"camoe.{name}": str(value) for name, value in facts.items() if not isinstance(value, (dict, list))}
    tags = {
        **plain,
        **process_tags(process),
        RUN_KEY: run_key(folder),
        **parent_tags(),
        "camoe.run_folder": str(folder.path),
        "mlflow.user": str(facts.get("user", "")),
        "mlflow.source.name": "run.py",
        "mlflow.source.git.commit": str(facts.get("git_commit", "")),
    }
    return {name: value[:LONGEST_VALUE] for name, value in tags.items()}


def artifact_files(folder: RunFolder) -> Iterable[Path]:
    """Every file of the folder that MLflow gets."""
    for name in ARTIFACTS:
        path = folder.path / name
        yield from [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def run_by_id(client: MlflowClient, run_id: str) -> Run | None:
    """That run, None when the store has none of this id."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
