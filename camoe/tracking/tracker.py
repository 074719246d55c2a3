"""The one object that training talks to about metrics."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camoe.config.tracking import TrackingConfig
from camoe.tracking.array_file import save_arrays
from camoe.tracking.metric_definitions import warn_if_undefined
from camoe.tracking.metrics_log import MetricsLog
from camoe.tracking.mlflow_sink import MlflowSink
from camoe.tracking.mlflow_store import how_to_look, tracking_uri
from camoe.tracking.resident_memory import resident_peak
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_status import State

BEGINNING = {"metrics_position": 0, "ledger_position": 0}
"""The state of a tracker that has no record yet."""
log = logging.getLogger(__name__)


class Tracker:
    """Every record goes to metrics.jsonl at once; MLflow, when wanted, follows that file from its own thread.

    What the market booked goes to ledger.jsonl, of the same kind. `at_end` is called with the folder of a run that
    finished or failed, when everything is in it and before MLflow takes the last files; it must not raise.
    """

    def __init__(
        self,
        folder: RunFolder,
        log: MetricsLog,
        ledger: MetricsLog,
        sink: MlflowSink | None,
        at_end: Callable[[RunFolder], None] | None = None,
    ) -> None:
        self.folder, self._log, self._ledger, self.sink, self._at_end = folder, log, ledger, sink, at_end
        self._started = self._finished = False

    @staticmethod
    def check(config: TrackingConfig) -> None:
        """ConfigError for a store that cannot work, before anything is made."""
        if config.mlflow:
            tracking_uri(config)

    @classmethod
    def open(
        cls, folder: RunFolder, config: TrackingConfig, at_end: Callable[[RunFolder], None] | None = None
    ) -> Tracker:
        """The sinks that the configuration asks for. Without tracking.mlflow nothing imports mlflow."""
        sink = MlflowSink(folder, config) if config.mlflow else None
        return cls(folder, MetricsLog(folder.metrics_file), MetricsLog(folder.ledger_file), sink, at_end)

    def start(self) -> None:
        """The run is running, and MLflow may follow; after `rewind` when it goes on from a checkpoint."""
        self._started = True
        self.folder.set_status("running")
        if self.sink is not None:
            self.sink.start()

    @property
    def mlflow_run_id(self) -> str | None:
        """None without MLflow, and until its store has answered."""
        return None if self.sink is None else self.sink.run_id

    @property
    def mlflow_look(self) -> str | None:
        """The command that shows the runs, None without MLflow."""
        return None if self.sink is None else how_to_look(self.sink.uri)

    def log(self, step: int, record: Mapping[str, Any]) -> None:
        """Record numbers, text and per-layer lists at an optimiser step; steps never fall."""
        warn_if_undefined(record)
        self._log.write({"step": step, "time/unix": time.time(), "time/peak_memory": peak_memory(), **record})
        if self.sink is not None:
            self.sink.notify()

    def book(self, step: int, record: Mapping[str, Any]) -> None:
        """Record a window of the ledger that ends at an optimiser step."""
        self._ledger.write({"step": step, **record})

    def keep(self, name: str, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Keep arrays too large for a record as NAME.npz in the run folder; a resumed run writes the same again."""
        save_arrays(self.folder.path / f"{name}.npz", arrays)

    def state(self) -> dict[str, int]:
        """For a checkpoint: how much of both files belongs to it. What MLflow has stands in mlflow.json."""
        return {"metrics_position": self._log.position(), "ledger_position": self._ledger.position()}

    def lacks(self, state: Mapping[str, int]) -> str | None:
        """What has been lost of the records that belong to a checkpoint with this state; None for nothing."""
        files = {self.folder.metrics_file: "metrics_position", self.folder.ledger_file: "ledger_position"}
        for file, position in files.items():
            size = file.stat().st_size if file.exists() else 0
            if size < state[position]:
                return f"belongs to {state[position]} bytes of {file.name}, which has {size}"
        return None

    def rewind(self, state: Mapping[str, int]) -> None:
        """Forget the records after a checkpoint, which training is about to write again; before `start`."""
        if self._started:
            raise RuntimeError("rewind the tracker before start: MLflow already follows the file")
        self._log.truncate(state["metrics_position"])
        self._ledger.truncate(state["ledger_position"])

    def finish(self, state: State, reason: str = "") -> int:
        """Send the rest, write the final status; returns how many records MLflow does not have.

        The status is on disk before MLflow is waited for, so that a second kill leaves the truth. Only the first call
        counts: what goes wrong after the end does not change how the run ended.
        """
        if self._finished:
            return 0
        self._finished = True
        self._set_status(state, reason)
        if self._at_end is not None and state != "killed":  # a killed run goes on, and has seconds left
            self._at_end(self.folder)
        missing = self.sink.finish(state, reason) if self.sink is not None and self._started else 0
        self._set_status(state, reason, missing)
        self._log.close()
        self._ledger.close()
        self.folder.unlock()
        return missing

    def _set_status(self, state: State, reason: str, missing: int = 0) -> None:
        """A disk that cannot take it must not hide why the run ended; without its process the run counts as killed."""
        try:
            if state == "finished":  # nobody goes on with it: what it says it has must be there
                self.folder.flush()
            self.folder.set_status(state, reason, missing)
        except OSError as error:
            log.warning("status.json does not say that the run %s: %s", state, error)


def peak_memory() -> int:
    """Bytes: the most the accelerator had allocated, without one the most this process had resident."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    return resident_peak()
