"""Run folders of an MLflow experiment: where they still lie, or what was logged of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from camoe.config import ConfigError
from camoe.config.absolute_paths import SQLITE
from camoe.config.refusal import not_an_option
from camoe.config.tracking import TrackingConfig
from camoe.tracking.mlflow_store import MLFLOW_STATUS, prepare_environment, tracking_uri
from camoe.tracking.provenance import without_passwords
from camoe.tracking.run_folder import REQUIRED

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

LOGGED = (*REQUIRED, "metrics.jsonl", "documents.parquet")
STATES = {status: state for state, status in MLFLOW_STATUS.items()} | {"RUNNING": "running"}


def folders_of_experiment(name: str, output_dir: Path) -> list[tuple[Path, Mapping[str, str]]]:
    """(run folder, what only MLflow knows of it) of every run, oldest first.

    A folder that is not on this machine is made again from the run's artifacts, below `output_dir`/cache/mlflow; its
    status is then MLflow's. Runs without either, such as the parent of a sweep, are left out. ConfigError for an
    experiment that does not exist, with the nearest match, or a store that does not answer.
    """
    uri = tracking_uri(TrackingConfig())
    client = existing_store(uri)
    from mlflow.exceptions import MlflowException

    try:
        runs = _runs(client, name)
        found = [_folder(client, run, output_dir / "cache" / "mlflow") for run in reversed(runs)]
    except MlflowException as error:
        raise ConfigError(f"--experiment: MLflow at {without_passwords(uri)}: {str(error).splitlines()[0]}") from error
    return [folder for folder in found if folder is not None]


def existing_store(uri: str) -> MlflowClient:
    """A client of the store; ConfigError for an sqlite file that is not there, which opening would make."""
    file = Path(uri.removeprefix(SQLITE))
    if uri.startswith(SQLITE) and not file.is_file():
        raise ConfigError(f"MLflow: no store at {file}; set MLFLOW_TRACKING_URI to where the runs were recorded")
    prepare_environment()
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def _runs(client: MlflowClient, name: str) -> list[Run]:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        raise not_an_option("--experiment", name, [e.name for e in client.search_experiments()], noun="experiment")
    page = client.search_runs([experiment.experiment_id])
    runs = list(page)
    while page.token:
        page = client.search_runs([experiment.experiment_id], page_token=page.token)
        runs += page
    return runs


def _folder(client: MlflowClient, run: Run, cache: Path) -> tuple[Path, Mapping[str, str]] | None:
    here = Path(run.data.tags.get("camoe.run_folder", "/nowhere"))
    if all((here / name).is_file() for name in REQUIRED):
        return here, {}
    logged = {file.path for file in client.list_artifacts(run.info.run_id)}
    if not set(REQUIRED) <= logged:
        return None
    copy = cache / run.info.run_id / (run.info.run_name or run.info.run_id)
    copy.mkdir(parents=True, exist_ok=True)
    for name in logged.intersection(LOGGED):
        client.download_artifacts(run.info.run_id, name, str(copy))
    state = STATES.get(run.info.status, "killed")
    return copy.resolve(), {"status": state, "reason": run.data.tags.get("camoe.reason", "")}
