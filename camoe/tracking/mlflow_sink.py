"""Sends metrics.jsonl to MLflow from a thread of its own: training neither waits for MLflow nor depends on it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camoe.config.tracking import TrackingConfig
from camoe.tracking.metric_definitions import is_series
from camoe.tracking.mlflow_store import (
    MLFLOW_STATUS,
    open_experiment,
    prepare_environment,
    process_tags,
    repair_dead_runs,
    tracking_uri,
)
from camoe.tracking.provenance import REPOSITORY, without_passwords
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_status import State
from camoe.tracking.upload_mark import Position, RecordTail, UploadMark

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

METRICS_PER_BATCH, PARAMS_PER_BATCH, LONGEST_VALUE = 1000, 100, 5000
SECONDS_BETWEEN_BATCHES = 1.0
LONGEST_PAUSE = 60.0
ARTIFACTS = (
    "config.yaml",
    "provenance.json",
    "metrics.jsonl",
    "ledger.jsonl",
    "train.log",
    "summary.txt",
    "summary.svg",
    "samples",
)
INDEX = ("step", "time/unix")  # of a record; MLflow has its own columns for them
log = logging.getLogger(__name__)


class MlflowSink:
    """One MLflow run that follows one run folder. Nothing it does can raise in the thread that trains, but __init__.

    Raises ConfigError from __init__ for a store that cannot work.
    """

    def __init__(self, folder: RunFolder, config: TrackingConfig, root: Path = REPOSITORY) -> None:
        self.uri = tracking_uri(config, root)
        self.run_id: str | None = None  # known once the store has answered
        self._folder, self._config = folder, config
        self._tail = RecordTail(folder.metrics_file)
        self._client: MlflowClient | None = None
        self._mark = self._earlier_mark() or UploadMark(self.uri, "")
        self._ending: tuple[State, str] | None = None
        self._wake = threading.Event()
        self._done = threading.Event()
        self._warned = False

    def start(self) -> None:
        """Begin to open the store and the run, and return at once."""
        prepare_environment()
        threading.Thread(target=self._work, name="mlflow", daemon=True).start()

    def notify(self) -> None:
        """There is a new record in metrics.jsonl."""
        self._wake.set()

    def finish(self, state: State, reason: str = "", time_limit: float = 30.0) -> int:
        """Send what is left, the artifacts and the status; returns the number of records MLflow does not have."""
        self._ending = (state, reason)
        self._wake.set()
        if not self._done.wait(time_limit):
            self._warn(f"no answer within {time_limit:g} s")
        return self._tail.unsent(self._mark)

    def _work(self) -> None:
        pause = SECONDS_BETWEEN_BATCHES
        while not self._done.is_set():
            self._wake.clear()
            ending = self._ending
            try:
                self._catch_up()
                if ending is not None:
                    self._close(*ending)
                pause = SECONDS_BETWEEN_BATCHES
            except Exception as error:  # whatever MLflow, SQLAlchemy or the network raise, training goes on
                self._warn(str(error))
                pause = min(2 * pause, LONGEST_PAUSE)
            if ending is not None:
                self._done.set()
            elif self._ending is None:
                self._wait(pause)

    def _wait(self, pause: float) -> None:
        """Until there is a record, but at least `pause`; the end of the run is not kept waiting."""
        until = time.monotonic() + pause
        self._wake.wait()
        while self._ending is None and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))

    def _catch_up(self) -> None:
        if self._client is None:
            self._client = self._open()
        for batch, position in _batches(self._tail, self._mark, self._config.every_series):
            if batch:
                self._client.log_batch(self._mark.run_id, metrics=batch)
            self._tail.position = position
            if not self._mark.covers(position.step, position.count):
                self._mark = replace(self._mark, step=position.step, count=position.count)
                self._mark.save(self._folder.mlflow_file)

    def _open(self) -> MlflowClient:
        client, experiment_id = open_experiment(self.uri, self._config.experiment)
        repair_dead_runs(client, experiment_id)
        if not (self._mark.run_id and _go_on(client, self._mark.run_id, self._tags())):
            run = client.create_run(experiment_id, tags=self._tags(), run_name=self._folder.path.name)
            self._mark = UploadMark(self.uri, run.info.run_id)
            self._mark.save(self._folder.mlflow_file)
        _log_params(client, self._mark.run_id, flatten(self._folder.config()))
        self.run_id = self._mark.run_id
        return client

    def _earlier_mark(self) -> UploadMark | None:
        mark = UploadMark.load(self._folder.mlflow_file)
        return mark if mark is not None and mark.uri == self.uri else None

    def _close(self, state: State, reason: str) -> None:
        assert self._client is not None
        run_id = self._mark.run_id
        for name, value in {**self._tags(), "camoe.reason": reason[:LONGEST_VALUE]}.items():
            self._client.set_tag(run_id, name, value)
        self._client.set_terminated(run_id, status=MLFLOW_STATUS[state])
        for name in ARTIFACTS:
            path = self._folder.path / name
            if path.is_file():
                self._client.log_artifact(run_id, str(path))
            elif path.is_dir() and any(path.iterdir()):
                self._client.log_artifacts(run_id, str(path), artifact_path=name)

    def _tags(self) -> dict[str, str]:
        """Where the run came from, as far as that is known by now."""
        facts = self._folder.provenance()
        plain = {f"camoe.{name}": str(value) for name, value in facts.items() if not isinstance(value, (dict, list))}
        tags = {
            **plain,
            **process_tags(),
            "camoe.run_folder": str(self._folder.path),
            "mlflow.user": str(facts.get("user", "")),
            "mlflow.source.name": "run.py",
            "mlflow.source.git.commit": str(facts.get("git_commit", "")),
        }
        return {name: value[:LONGEST_VALUE] for name, value in tags.items()}

    def _warn(self, problem: str) -> None:
        if not self._warned:
            first_line = problem.strip().splitlines()[0][:200] if problem.strip() else "no reason given"
            log.warning(
                "MLflow at %s: %s. Training goes on; metrics.jsonl has every record.",
                without_passwords(self.uri),
                without_passwords(first_line),
            )
        self._warned = True


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted names and values of a nested configuration, values cut to what MLflow takes."""
    flat: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = without_passwords(str(value))[:LONGEST_VALUE]
    return flat


def mlflow_values(record: Mapping[str, Any], every_series: bool) -> dict[str, float]:
    """The numbers of a record under MLflow names; series as NAME/layer_00 and NAME/layer_00/expert_0 when wanted."""
    values: dict[str, float] = {}
    for name, value in record.items():
        if is_series(name):
            values |= _expanded(name, value) if every_series else {}
        elif isinstance(value, (int, float)) and name not in INDEX:
            values[name] = float(value)
    return values


def _expanded(name: str, layers: list[Any]) -> dict[str, float]:
    base = name.rpartition("/")[0]
    values: dict[str, float] = {}
    for layer, value in enumerate(layers):
        if isinstance(value, list):
            values |= {f"{base}/layer_{layer:02d}/expert_{expert}": float(v) for expert, v in enumerate(value)}
        else:
            values[f"{base}/layer_{layer:02d}"] = float(value)
    return values


def _batches(tail: RecordTail, mark: UploadMark, every_series: bool) -> Iterator[tuple[list[Metric], Position]]:
    """Unsent records packed into batches; a batch's position is behind the last record that is complete with it."""
    from mlflow.entities import Metric

    batch: list[Metric] = []
    position = tail.position
    for record, behind in tail.ahead():
        values = {} if mark.covers(behind.step, behind.count) else mlflow_values(record, every_series)
        milliseconds = int(record.get("time/unix", time.time()) * 1000)
        for name, value in values.items():
            if len(batch) == METRICS_PER_BATCH:
                yield batch, position
                batch = []
            batch.append(Metric(name, value, milliseconds, record["step"]))
        position = behind
    yield batch, position


def _go_on(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> bool:
    """Set an earlier run to RUNNING under this process; False when it is no longer there."""
    from mlflow.exceptions import MlflowException

    try:
        if client.get_run(run_id).info.lifecycle_stage == "deleted":
            return False
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    for name, value in {**tags, "camoe.reason": ""}.items():
        client.set_tag(run_id, name, value)
    client.update_run(run_id, status="RUNNING")
    return True


def _log_params(client: MlflowClient, run_id: str, values: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    params = [Param(name, value) for name, value in values.items()]
    for start in range(0, len(params), PARAMS_PER_BATCH):
        client.log_batch(run_id, params=params[start : start + PARAMS_PER_BATCH])
