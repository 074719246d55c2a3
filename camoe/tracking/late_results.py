"""Results found after a run has ended, put into its own MLflow run."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from camoe.config.absolute_paths import SQLITE
from camoe.tracking.mlflow_store import prepare_environment
from camoe.tracking.provenance import without_passwords
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.upload_mark import UploadMark

METRICS_PER_BATCH = 1000  # what a server accepts
log = logging.getLogger(__name__)


class LateResult(NamedTuple):
    """A metric and the step it belongs to."""

    name: str
    value: float
    step: int


def send_late_results(folder: RunFolder, results: Iterable[LateResult], files: Sequence[Path]) -> bool:
    """Log the finite results and the files in the run that mlflow.json names; whether the store took them.

    Nothing is sent of a run that keeps out of MLflow. A store that is away costs one warning.
    """
    if not folder.config().get("tracking", {}).get("mlflow"):
        return False
    mark = UploadMark.load(folder.mlflow_file)
    if mark is None:
        log.warning(
            "MLflow has not got this run yet; run job=sync_tracking, then evaluate again to have results there."
        )
        return False
    try:
        _send(mark, [result for result in results if math.isfinite(result.value)], files)
    except Exception as error:  # whatever MLflow, SQLAlchemy or the network raise
        reason = without_passwords((str(error).strip().splitlines() or [type(error).__name__])[0][:200])
        log.warning("MLflow at %s: %s. The results are in %s.", without_passwords(mark.uri), reason, folder.path)
        return False
    return True


def _send(mark: UploadMark, results: Sequence[LateResult], files: Sequence[Path]) -> None:
    if mark.uri.startswith(SQLITE) and not Path(mark.uri.removeprefix(SQLITE)).is_file():
        raise FileNotFoundError("the file is gone")  # it would be made anew, without the run
    prepare_environment()
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    client, now = MlflowClient(mark.uri), int(time.time() * 1000)
    client.get_run(mark.run_id)
    metrics = [Metric(_allowed(result.name), result.value, now, result.step) for result in results]
    for start in range(0, len(metrics), METRICS_PER_BATCH):
        client.log_batch(mark.run_id, metrics=metrics[start : start + METRICS_PER_BATCH])
    for file in files:
        client.log_artifact(mark.run_id, str(file))


def _allowed(name: str) -> str:
    """With the characters that MLflow takes in a name."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:250]
