"""Real processes against a real MLflow server, which dies, comes back, or is never there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mlflow_server import LoopbackServer
from camoe.config.tracking import TrackingConfig
from camoe.tracking.metrics_log import read_metrics
from camoe.tracking.mlflow_records import mlflow_values
from camoe.tracking.mlflow_store import open_experiment
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_index import RunIndex
from camoe.tracking.store_completion import StoreCompletion
from camoe.tracking.tracker import Tracker
from camoe.tracking.upload_mark import UploadMark
from tests.jobs.command import SMALL, command, text_file

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240  # seconds; enough for a machine that has much else to do
STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
TINY_RUN = [*(setting for setting in SMALL if setting != "tracking=local"), "data.path=source.txt"]
FAILING = """
import os, runpy, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))
import camoe.jobs.train as train
def explode(*_): raise RuntimeError("boom at the end")
train._conclude = explode
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Iterator[LoopbackServer]:
    """Not up yet: starting takes so long that one is shared."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(migrated_store.read_bytes())
    made = LoopbackServer(folder)
    yield made
    made.kill()


def run_folders(output_dir: Path) -> list[RunFolder]:
    return [RunFolder.open(path) for path in RunIndex(output_dir).everything()]


def wait_until(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def sent_step(folder: Path) -> int:
    """The last step that MLflow has, -1 before it has any."""
    mark = UploadMark.load(folder / "mlflow.json")
    return -1 if mark is None else mark.step


def mlflow_run(folder: RunFolder, experiment: str = "camoe") -> tuple[Any, Any]:
    mark = UploadMark.load(folder.mlflow_file)
    assert mark is not None
    client, _ = open_experiment(mark.uri, experiment)
    return client, client.get_run(mark.run_id)


def assert_equal_to_the_file(folder: RunFolder, experiment: str = "camoe") -> None:
    """Every metric's history, the status and its reason."""
    client, run = mlflow_run(folder, experiment)
    expected: dict[str, list[tuple[int, str]]] = {}
    for record in read_metrics(folder.metrics_file):
        for name, value in mlflow_values(record, every_series=False).items():
            expected.setdefault(name, []).append((record["step"], repr(value)))
    assert expected
    assert run.data.metrics.keys() == expected.keys()
    for name, values in expected.items():
        if not name.startswith("time/"):  # of a resumed run they are those of the first time
            history = client.get_metric_history(run.info.run_id, name)
            assert [(metric.step, repr(metric.value)) for metric in history] == values, name  # NaN equals nothing
    status = folder.status()
    assert (run.info.status, run.data.tags["camoe.reason"]) == (STATUS[status.state], status.reason)


@contextmanager
def eight_runs(output_dir: Path, uri: str) -> Iterator[subprocess.Popen[str]]:
    """All of their processes are gone at the end, however the test went."""
    output_dir.mkdir()
    driver = [sys.executable, "-m", "tests.tracking.many_trackers", str(output_dir), uri]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(driver, cwd=ROOT, start_new_session=True, **pipes) as processes:
        try:
            yield processes
        finally:
            with suppress(ProcessLookupError):
                os.killpg(processes.pid, signal.SIGKILL)


def all_have_sent(output_dir: Path, step: int, n_run: int = 8) -> bool:
    return sum(sent_step(path.parent) >= step for path in output_dir.glob("2*/*/mlflow.json")) == n_run


def end_all(output_dir: Path, processes: subprocess.Popen[str]) -> None:
    """Every run says truly what MLflow lacks, which is nothing but for want of time, and nothing once synchronised."""
    (output_dir / "stop").touch()
    output, _ = processes.communicate(timeout=PATIENCE)
    unforeseen = [line for line in output.splitlines() if not line.startswith("MLflow at ")]
    assert (processes.returncode, unforeseen) == (0, [])
    folders, stores = run_folders(output_dir), StoreCompletion()
    missing = {folder: folder.status().mlflow_missing for folder in folders}
    print("records that MLflow lacks at the end of each run:", list(missing.values()))
    for folder in folders:
        assert stores.complete(folder, lambda _: None).records <= missing[folder]
        assert_equal_to_the_file(folder, "many")


def test_mlflow_away_from_beginning_to_end_and_then_synchronised(server: LoopbackServer, tmp_path: Path) -> None:
    """First, while the server has not been started, it costs no restart."""
    server.kill()
    text_file(tmp_path)
    run = [*TINY_RUN, f"tracking.uri={server.uri}"]
    done = subprocess.run(command(*run), cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    (folder,) = run_folders(tmp_path / "outputs")
    n_record = len(read_metrics(folder.metrics_file))
    assert f"MLflow lacks {n_record} records" in done.stdout
    (later,) = [line for line in done.stdout.splitlines() if "job=sync_tracking" in line]
    server.up()
    words = later.partition("python run.py ")[2].split()
    sync = subprocess.run(command(*words), cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (sync.returncode, sync.stderr) == (0, "")
    assert f"1 completed; sent: new runs 1, records {n_record}, files" in sync.stdout
    assert_equal_to_the_file(folder)


def test_eight_processes_and_a_server_killed_in_the_middle(server: LoopbackServer, tmp_path: Path) -> None:
    server.up()
    outputs = tmp_path / "outputs"
    with eight_runs(outputs, server.uri) as processes:
        wait_until(lambda: all_have_sent(outputs, 3))
        server.kill()
        steps = {folder: sent_step(folder.path) for folder in run_folders(outputs)}
        time.sleep(1.5)
        assert steps == {folder: sent_step(folder.path) for folder in run_folders(outputs)}
        server.up()
        end_all(outputs, processes)
    client, experiment = open_experiment(server.uri, "many")
    assert len(client.search_runs([experiment])) == 8


def test_eight_processes_on_a_new_sqlite_store(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    with eight_runs(outputs, f"sqlite:///{tmp_path / 'new.db'}") as processes:
        wait_until(lambda: all_have_sent(outputs, 3))
        end_all(outputs, processes)


def test_the_ends_of_real_runs_are_told_truly(server: LoopbackServer, tmp_path: Path) -> None:
    """kill -9, found out by the next run, which fails; then both go on: one is terminated, one succeeds."""
    server.up()
    text_file(tmp_path)
    run = [*TINY_RUN, f"tracking.uri={server.uri}", "tracking.experiment=ends"]
    start: dict[str, Any] = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def end(*arguments: str) -> int:
        return subprocess.run(arguments, **start, check=False, timeout=PATIENCE).returncode

    def begun(name: str) -> tuple[subprocess.Popen[bytes], RunFolder]:
        """A run too long to end by itself that MLflow knows something of."""
        longer = [f"name={name}", "phase.schedule.normal.steps=90000"]
        process = subprocess.Popen(command(*run, *longer), **start)
        wait_until(
            lambda: any(sent_step(path.parent) >= 6 for path in tmp_path.glob(f"outputs/*/*{name}*/mlflow.json"))
        )
        (folder,) = [folder for folder in run_folders(tmp_path / "outputs") if f"-{name}-" in folder.path.name]
        return process, folder

    process, vanished = begun("vanishing")
    process.kill()
    process.wait()
    before = mlflow_run(vanished, "ends")[1].info
    assert before.status == "RUNNING"

    failing = [sys.executable, "-c", FAILING, *command(*run, "name=failing")[1:]]
    assert end(*failing) == 1
    (failed,) = [folder for folder in run_folders(tmp_path / "outputs") if "-failing-" in folder.path.name]
    assert_equal_to_the_file(failed, "ends")
    assert failed.status().reason == "RuntimeError: boom at the end"
    _, repaired = mlflow_run(vanished, "ends")
    assert (repaired.info.status, repaired.info.run_id) == ("KILLED", before.run_id)
    assert repaired.data.tags["camoe.reason"] == f"process {process.pid} on {socket.gethostname()} vanished"

    process = subprocess.Popen(command(f"resume={vanished.path}"), **start)
    resent = sent_step(vanished.path) + 12
    wait_until(lambda: sent_step(vanished.path) >= resent)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=PATIENCE) == 128 + signal.SIGTERM
    assert_equal_to_the_file(vanished, "ends")
    _, terminated = mlflow_run(vanished, "ends")
    assert (terminated.info.status, terminated.info.run_id) == ("KILLED", before.run_id)
    assert terminated.data.tags["camoe.reason"] == "SIGTERM"

    failed_id = mlflow_run(failed, "ends")[1].info.run_id
    assert end(*command(f"resume={failed.path}")) == 0
    assert failed.status().state == "finished"
    assert_equal_to_the_file(failed, "ends")
    assert mlflow_run(failed, "ends")[1].info.run_id == failed_id


def test_a_server_that_hangs_costs_the_training_thread_nothing(folder: RunFolder) -> None:
    """It takes connections and never answers, which is worse than not being there."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as deaf:
        tracker = Tracker.open(folder, TrackingConfig(uri=f"http://127.0.0.1:{deaf.getsockname()[1]}"))
        tracker.start()
        pauses = []
        for step in range(1, 201):
            began = time.perf_counter()
            tracker.log(step, {"loss/total": 1 / step})
            pauses.append(time.perf_counter() - began)
            time.sleep(0.01)
        began = time.perf_counter()
        assert tracker.finish("killed", "SIGTERM") == 200
        to_end = time.perf_counter() - began
    print(f"longest pause {1e3 * max(pauses):.1f} ms, median {1e3 * sorted(pauses)[100]:.2f} ms, end {to_end:.1f} s")
    assert sorted(pauses)[100] < 0.01
    assert max(pauses) < 0.5
    assert to_end < 8


def test_a_store_locked_over_the_end_of_a_run_loses_nothing(folder: RunFolder, store: str, tmp_path: Path) -> None:
    import sqlite3

    tracker = Tracker.open(folder, TrackingConfig(uri=store))
    tracker.start()
    tracker.log(1, {"loss/total": 1.0})
    wait_until(lambda: sent_step(folder.path) == 1)
    blocker = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN EXCLUSIVE")
    threading.Timer(7, blocker.execute, ["COMMIT"]).start()
    for step in range(2, 20):
        tracker.log(step, {"loss/total": 1 / step})
    assert tracker.finish("finished") == 0
    assert_equal_to_the_file(folder)
