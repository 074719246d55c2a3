"""The sink against a real MLflow server that dies in the middle of a run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from camoe.config.tracking import TrackingConfig
from camoe.tracking.mlflow_store import open_experiment
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.tracker import Tracker
from camoe.tracking.upload_mark import UploadMark


def start_server(store: str, port: int, artifacts: Path) -> subprocess.Popen[bytes]:
    options = {"--backend-store-uri": store, "--artifacts-destination": str(artifacts), "--port": str(port)}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--workers",
            "1",
            *(part for pair in options.items() for part in pair),
        ],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
            return process
        except OSError:
            time.sleep(0.1)
    stop_server(process)
    pytest.fail("the MLflow server did not come up")


def stop_server(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, 9)
    process.wait()


@pytest.mark.slow
def test_a_server_that_dies_costs_nothing_but_a_later_upload(folder: RunFolder, store: str, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = TrackingConfig(uri=f"http://127.0.0.1:{port}")
    server = start_server(store, port, tmp_path / "artifacts")
    first = Tracker.open(folder, config)
    first.start()
    for step in (1, 2, 3):
        first.log(step, {"loss/total": 1 / step})
    while (mark := UploadMark.load(folder.mlflow_file)) is None or mark.step < 3:
        time.sleep(0.05)
    stop_server(server)
    first.log(4, {"loss/total": 1 / 4})
    state = first.state()
    assert first.finish("killed", "SIGTERM") == 1

    server = start_server(store, port, tmp_path / "artifacts")
    try:
        folder.lock()
        second = Tracker.open(folder, config)
        second.rewind(state)
        second.start()
        second.log(5, {"loss/total": 1 / 5})
        assert second.finish("finished") == 0
        client, _ = open_experiment(mark.uri, config.experiment)
        assert second.mlflow_run_id == mark.run_id
        values = [(metric.step, metric.value) for metric in client.get_metric_history(mark.run_id, "loss/total")]
        assert values == [(step, 1 / step) for step in range(1, 6)]
        assert client.get_run(mark.run_id).info.status == "FINISHED"
        assert "metrics.jsonl" in {item.path for item in client.list_artifacts(mark.run_id)}
    finally:
        stop_server(server)
