"""The MLflow run of a whole sweep, whose children are the sweep's runs; kept by the process that launches them."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from camoe.config.tracking import TrackingConfig
from camoe.tracking.mlflow_store import (
    MLFLOW_STATUS,
    open_experiment,
    prepare_environment,
    process_tags,
    repair_dead_runs,
    tracking_uri,
)
from camoe.tracking.provenance import without_passwords
from camoe.tracking.run_status import State

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

VARIABLE = "CAMOE_PARENT_RUN"  # MLFLOW_RUN_ID would make MLflow ignore the parent
PARENT_TAG, SWEEP_TAG, FOLDER_TAG = "mlflow.parentRunId", "camoe.sweep", "camoe.sweep_folder"
log = logging.getLogger(__name__)


class SweepParent:
    """An open parent run. A store that goes away costs a warning, never the sweep."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self.run_id = client, run_id

    def adopt(self, child_run_ids: Sequence[str]) -> None:
        """Take runs that were made before the sweep, and have no parent yet, as children."""
        try:
            for run_id in child_run_ids:
                if PARENT_TAG not in self._client.get_run(run_id).data.tags:
                    self._client.set_tag(run_id, PARENT_TAG, self.run_id)
        except Exception as error:  # whatever MLflow, SQLAlchemy or the network raise
            _warn(error)

    def finish(self, state: State, reason: str, files: Sequence[Path]) -> None:
        """Say how the sweep ended, and keep its files."""
        try:
            self._client.set_tag(self.run_id, "camoe.reason", reason)
            self._client.set_terminated(self.run_id, MLFLOW_STATUS[state])
            for path in files:
                self._client.log_artifact(self.run_id, str(path))
        except Exception as error:
            _warn(error)


def begin_parent(config: TrackingConfig, sweep: str, folder: Path, command: str) -> SweepParent | None:
    """Open the store, which makes it if it is not there, and the sweep's run in it: that of an earlier command for the
    same folder, else a new one. None, with a warning, when the store does not answer. ConfigError for one that cannot.
    """
    uri = tracking_uri(config)
    prepare_environment()
    try:
        client, experiment_id = open_experiment(uri, config.experiment)
        repair_dead_runs(client, experiment_id)
        run = _earlier(client, experiment_id, folder) or client.create_run(experiment_id, run_name=sweep)
        tags = {**process_tags(), SWEEP_TAG: sweep, FOLDER_TAG: str(folder), "camoe.command": command}
        for name, value in tags.items():
            client.set_tag(run.info.run_id, name, value)
        client.update_run(run.info.run_id, status="RUNNING")
    except Exception as error:
        _warn(error)
        return None
    return SweepParent(client, run.info.run_id)


def parent_tags() -> dict[str, str]:
    """The tag that makes a run of this process a child; none outside of a sweep."""
    parent = os.environ.get(VARIABLE)
    return {PARENT_TAG: parent} if parent else {}


def _earlier(client: MlflowClient, experiment_id: str, folder: Path) -> Run | None:
    found = client.search_runs([experiment_id], f"tags.`{FOLDER_TAG}` = '{folder}'", max_results=1)
    return next(iter(found), None)


def _warn(error: Exception) -> None:
    first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
    log.warning("MLflow has no parent run of this sweep: %s", without_passwords(first_line))
