"""Sends metrics.jsonl to MLflow from a thread of its own: training neither waits for MLflow nor depends on it."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import NamedTuple

from camoe.config.tracking import TrackingConfig
from camoe.tracking.mlflow_run import MlflowRun, create_run, find_run, is_deleted
from camoe.tracking.mlflow_store import open_experiment, prepare_environment, repair_dead_runs, tracking_uri
from camoe.tracking.process_identity import ProcessIdentity
from camoe.tracking.provenance import without_passwords
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_status import State
from camoe.tracking.upload_mark import RecordTail, UploadMark

SECONDS_BETWEEN_BATCHES = 1.0
LONGEST_PAUSE = 60.0
SECONDS_TO_END = {"finished": 30.0, "failed": 30.0, "killed": 5.0}  # whoever kills a run is about to do it harder
log = logging.getLogger(__name__)


class Ending(NamedTuple):
    """How the run ended, and until when (monotonic seconds) MLflow may take to hear of it."""

    state: State
    reason: str
    deadline: float


class MlflowSink:
    """One MLflow run that follows one run folder. Nothing it does can raise in the thread that trains, but __init__.

    Raises ConfigError from __init__ for a store that cannot work.
    """

    def __init__(self, folder: RunFolder, config: TrackingConfig, root: Path | None = None) -> None:
        self.uri = tracking_uri(config, root)
        self._folder, self._config = folder, config
        self._run: MlflowRun | None = None  # until the store has answered
        self._ending: Ending | None = None
        self._wake = threading.Event()
        self._done = threading.Event()
        self._warned = False

    @property
    def run_id(self) -> str | None:
        """None until the store has answered."""
        return None if self._run is None else self._run.run_id

    def start(self) -> None:
        """Begin to open the store and the run, and return at once."""
        prepare_environment()
        threading.Thread(target=self._work, name="mlflow", daemon=True).start()

    def notify(self) -> None:
        """There is a new record in metrics.jsonl."""
        self._wake.set()

    def finish(self, state: State, reason: str = "") -> int:
        """Send what is left, the status and the artifacts; returns the number of records MLflow does not have.

        A store that has answered before gets time to come back; one that never did is tried once.
        """
        seconds = SECONDS_TO_END[state]
        self._ending = Ending(state, reason, time.monotonic() + seconds)
        self._wake.set()
        if not self._done.wait(seconds):
            self._warn(f"no answer within {seconds:g} s")
        return self._run.unsent() if self._run is not None else self._never_sent()

    def _work(self) -> None:
        pause = SECONDS_BETWEEN_BATCHES
        while not self._done.is_set():
            self._wake.clear()
            ending = self._ending
            reached = self._try_to_send(ending)
            pause = SECONDS_BETWEEN_BATCHES if reached else min(2 * pause, LONGEST_PAUSE)
            if ending is None:
                self._wait(pause)
            elif reached or self._run is None or time.monotonic() > ending.deadline:
                self._done.set()
            else:
                time.sleep(SECONDS_BETWEEN_BATCHES)

    def _try_to_send(self, ending: Ending | None) -> bool:
        try:
            if self._run is None:
                self._run = self._open()
            for _ in self._run.send_records():
                pass
            if ending is not None:
                self._run.set_ended(ending.state, ending.reason, ProcessIdentity.current())
                self._run.send_artifacts()
        except Exception as error:  # whatever MLflow, SQLAlchemy or the network raise, training goes on
            self._warn(str(error))
            return False
        return True

    def _wait(self, pause: float) -> None:
        """Until there is a record, but at least `pause`; the end of the run is not kept waiting."""
        until = time.monotonic() + pause
        self._wake.wait()
        while self._ending is None and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))

    def _open(self) -> MlflowRun:
        client, experiment_id = open_experiment(self.uri, self._config.experiment)
        repair_dead_runs(client, experiment_id)
        process = ProcessIdentity.current()
        found = find_run(client, experiment_id, self._folder)
        if found is None or is_deleted(found):
            found = create_run(client, experiment_id, self._folder, process)
        run = MlflowRun(self._folder, self.uri, client, found, self._config.every_series)
        run.set_running(process)
        return run

    def _never_sent(self) -> int:
        """Records missing in a store that did not answer this process, by what an earlier one wrote down."""
        mark = UploadMark.load(self._folder.mlflow_file)
        here = mark if mark is not None and mark.uri == self.uri else UploadMark(self.uri, "")
        return RecordTail(self._folder.metrics_file).unsent(here)

    def _warn(self, problem: str) -> None:
        if not self._warned:
            first_line = problem.strip().splitlines()[0][:200] if problem.strip() else "no reason given"
            log.warning(
                "MLflow at %s: %s. Training goes on; metrics.jsonl has every record.",
                without_passwords(self.uri),
                without_passwords(first_line),
            )
        self._warned = True
