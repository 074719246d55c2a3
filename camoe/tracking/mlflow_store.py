"""The MLflow store: where it is, how it is opened by many processes at once, and the repair of runs that died in it."""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from camoe.config import ConfigError
from camoe.config.absolute_paths import SQLITE, absolute_sqlite
from camoe.config.tracking import TrackingConfig, check_uri
from camoe.tracking.checkout import checkout
from camoe.tracking.process_identity import ProcessIdentity
from camoe.tracking.provenance import without_passwords
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_lock import exclusively
from camoe.tracking.run_status import RunStatus, State
from camoe.tracking.shown_path import shown_path

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NETWORK_DISKS = ("nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "fuse.sshfs", "fuse.glusterfs")
MLFLOW_STATUS: dict[State, str] = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


def tracking_uri(config: TrackingConfig, root: Path | None = None) -> str:
    """tracking.uri, else MLFLOW_TRACKING_URI, else mlflow.db in `root` (the checkout); sqlite paths are made absolute.

    ConfigError for stores that cannot work: folders of files, unknown schemes, and sqlite in memory or on a disk
    shared over the network.
    """
    uri = config.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{(root or checkout()) / 'mlflow.db'}"
    check_uri(uri)
    if uri.startswith("sqlite"):
        _refuse_bad_place(uri)
    return absolute_sqlite(uri)


def how_to_look(uri: str) -> str:
    """What to do to see the runs."""
    if not uri.startswith(SQLITE):
        return f"open {without_passwords(uri)}"
    return f"mlflow ui --backend-store-uri {SQLITE}{shown_path(Path(uri.removeprefix(SQLITE)))}"


def prepare_environment() -> None:
    """Quiet, private and quick to give up; what the user has set wins. Call before mlflow is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)


def open_experiment(uri: str, name: str) -> tuple[MlflowClient, str]:
    """(client, experiment id). One process at a time creates or migrates a sqlite store; the others wait."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    with _creation_lock(uri):
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return client, client.create_experiment(name, artifact_location=_artifact_location(uri, name))
            except MlflowException:  # another host created it in between
                experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage == "deleted":
        raise RuntimeError(f"experiment '{name}' is deleted; restore it, or choose another tracking.experiment")
    return client, experiment.experiment_id


def repair_dead_runs(client: MlflowClient, experiment_id: str) -> int:
    """End runs that say RUNNING although their process on this host is gone; returns how many.

    They become KILLED, or what their run folder says when only MLflow was away at the end. A run that another process
    is going on with, and has not told MLflow yet, is left to that one.
    """
    host = ProcessIdentity.current().host
    running = client.search_runs(
        [experiment_id], filter_string=f"attributes.status = 'RUNNING' and tags.`camoe.host` = '{host}'"
    )
    dead = 0
    for run in running:
        process = process_of(run.data.tags)
        if process is None or not process.is_dead:
            continue
        status, at = _how_it_ended(run.data.tags.get("camoe.run_folder", ""))
        if status.state != "running":
            client.set_tag(run.info.run_id, "camoe.reason", status.reason or f"{process} vanished")
            client.set_terminated(run.info.run_id, MLFLOW_STATUS[status.state], milliseconds(at))
            dead += 1
    return dead


def milliseconds(seconds: float | None) -> int | None:
    """A time in seconds since 1970 as MLflow takes it; None, which it takes for now, stays None."""
    return None if seconds is None else int(seconds * 1000)


def process_tags(process: ProcessIdentity | None = None) -> dict[str, str]:
    """Tags by which `repair_dead_runs` knows the process of a run; this one when none is given."""
    process = process or ProcessIdentity.current()
    return {
        "camoe.host": process.host,
        "camoe.pid": str(process.pid),
        "camoe.process_started": repr(process.started),
    }


def process_of(tags: dict[str, str]) -> ProcessIdentity | None:
    """The process that wrote `process_tags`, None when the tags are not there."""
    try:
        return ProcessIdentity(tags["camoe.host"], int(tags["camoe.pid"]), float(tags["camoe.process_started"]))
    except (KeyError, ValueError):
        return None


def _how_it_ended(run_folder: str) -> tuple[RunStatus, float | None]:
    """What the folder says, and when the run last wrote a record."""
    try:
        folder = RunFolder.open(run_folder)
        return folder.status(), folder.last_sign_of_life()
    except ConfigError:  # moved or deleted
        return RunStatus("killed"), None


def _artifact_location(uri: str, experiment: str) -> str | None:
    """Beside the sqlite file; a server decides for itself."""
    if not uri.startswith(SQLITE):
        return None
    return (Path(uri.removeprefix(SQLITE)).parent / "mlartifacts" / experiment).as_uri()


def _creation_lock(uri: str) -> AbstractContextManager[None]:
    if not uri.startswith(SQLITE):
        return nullcontext()
    path = Path(uri.removeprefix(SQLITE))
    return exclusively(path.with_name(f"{path.name}.lock"))


def _refuse_bad_place(uri: str) -> None:
    if not uri.startswith(SQLITE) or uri.endswith(("/", ":memory:")):
        raise ConfigError(f"tracking.uri: {uri} names no file; must be {SQLITE}PATH.db")
    path = Path(absolute_sqlite(uri).removeprefix(SQLITE))
    folder = path.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"tracking.uri: folder {folder} does not exist or cannot be written")
    mounts = [disk for disk in psutil.disk_partitions(all=True) if folder.is_relative_to(disk.mountpoint)]
    kind = max(mounts, key=lambda disk: len(disk.mountpoint)).fstype if mounts else ""
    if kind in NETWORK_DISKS:
        raise ConfigError(
            f"tracking.uri: {path} is on a network disk ({kind}), where sqlite loses data; start 'mlflow server' "
            "on one host and set tracking.uri or MLFLOW_TRACKING_URI to its address, or tracking.mlflow=false"
        )
