from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from camoe.config import ConfigError
from camoe.config.tracking import TrackingConfig
from camoe.tracking.mlflow_store import how_to_look, open_experiment, process_tags, repair_dead_runs, tracking_uri
from camoe.tracking.run_folder import RunFolder

OPENER = """
import sys
from camoe.tracking.mlflow_store import open_experiment, prepare_environment
prepare_environment()
client, experiment = open_experiment(sys.argv[1], "study")
print(client.create_run(experiment).info.run_id)
"""


@pytest.fixture(autouse=True)
def _no_uri_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_uri_of_the_setting_wins_over_the_environment_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri(TrackingConfig(), tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert tracking_uri(TrackingConfig(), tmp_path) == "http://server:5000"
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(TrackingConfig(uri="sqlite:///own.db"), tmp_path) == f"sqlite:///{tmp_path}/own.db"


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns"])
def test_folders_of_files_are_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.uri: .* folder of files"):
        tracking_uri(TrackingConfig(uri=uri), tmp_path)


@pytest.mark.parametrize(
    "uri",
    [
        "http://host:5000",
        "https://anna:secret@host",
        "postgresql://host/db",
        "postgresql+psycopg2://host/db",
        "mysql+pymysql://host/db",
        "mssql+pyodbc://host/db",
        "databricks",
        "databricks://profile",
    ],
)
def test_servers_and_databases_are_passed_on_as_they_are(uri: str, tmp_path: Path) -> None:
    assert tracking_uri(TrackingConfig(uri=uri), tmp_path) == uri


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("foo://bar", r"no scheme 'foo' \(allowed: .*sqlite\)$"),
        ("htps://anna:secret@host", r"no scheme 'htps'; did you mean https\?"),
        ("sqlite+foo:///own.db", "names no file; must be sqlite:///PATH.db$"),
        ("sqlite://own.db", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_what_mlflow_could_not_keep_a_run_in_is_refused(uri: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^tracking\.uri: .*{problem}") as refusal:
        tracking_uri(TrackingConfig(uri=uri), tmp_path)
    assert "secret" not in str(refusal.value)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist or cannot be written"):
        tracking_uri(TrackingConfig(uri=f"sqlite:///{tmp_path}/none/mlflow.db"))


def test_sqlite_on_a_network_disk_is_refused_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disks = [SimpleNamespace(mountpoint="/", fstype="ext4"), SimpleNamespace(mountpoint=str(tmp_path), fstype="nfs4")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: disks)  # noqa: ARG005
    with pytest.raises(ConfigError, match=r"network disk \(nfs4\).*mlflow server"):
        tracking_uri(TrackingConfig(), tmp_path)
    disks[1].fstype = "ext4"
    assert tracking_uri(TrackingConfig(), tmp_path)


def test_how_to_look_shows_no_password() -> None:
    assert how_to_look("sqlite:////a/mlflow.db") == "mlflow ui --backend-store-uri sqlite:////a/mlflow.db"
    assert how_to_look("https://anna:secret@host") == "open https://***@host"


def test_artifacts_lie_beside_the_store(store: str, tmp_path: Path) -> None:
    client, experiment = open_experiment(store, "study")
    assert client.get_experiment(experiment).artifact_location == (tmp_path / "mlartifacts" / "study").as_uri()
    assert open_experiment(store, "study")[1] == experiment


def test_a_deleted_experiment_says_what_to_do(store: str) -> None:
    client, experiment = open_experiment(store, "study")
    client.delete_experiment(experiment)
    with pytest.raises(RuntimeError, match="'study' is deleted; restore it, or choose another"):
        open_experiment(store, "study")


def test_runs_of_dead_processes_are_ended_and_those_of_living_ones_are_not(store: str, folder: RunFolder) -> None:
    client, experiment = open_experiment(store, "study")
    living = process_tags()
    dead = {**living, "camoe.process_started": repr(float(living["camoe.process_started"]) - 60)}
    folder.set_status("finished")
    gone_on_with = RunFolder.create(folder.path.parents[1], "other", "ffff", config={})
    tags = {
        "living": living,
        "dead": dead,
        "finished without MLflow": {**dead, "camoe.run_folder": str(folder.path)},
        "gone on with": {**dead, "camoe.run_folder": str(gone_on_with.path)},
        "elsewhere": {**dead, "camoe.host": "elsewhere"},
        "not ours": {},
    }
    runs = {name: client.create_run(experiment, tags=tag).info.run_id for name, tag in tags.items()}
    assert repair_dead_runs(client, experiment) == 2
    status = {name: client.get_run(run).info.status for name, run in runs.items()}
    assert status == {
        "living": "RUNNING",
        "dead": "KILLED",
        "finished without MLflow": "FINISHED",
        "gone on with": "RUNNING",
        "elsewhere": "RUNNING",
        "not ours": "RUNNING",
    }
    reason = client.get_run(runs["dead"]).data.tags["camoe.reason"]
    assert reason == f"process {os.getpid()} on {socket.gethostname()} vanished"


@pytest.mark.slow
def test_four_processes_may_open_a_new_store_at_once_and_print_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPENER, f"sqlite:///{tmp_path / 'new.db'}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    outputs = [process.communicate() for process in processes]
    assert [error for _, error in outputs] == [""] * 4
    assert len({output for output, _ in outputs}) == 4
