"""The sink against a real sqlite store, with the failures it has to survive."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from camoe.config.tracking import TrackingConfig
from camoe.tracking.metrics_log import read_metrics
from camoe.tracking.mlflow_records import LONGEST_VALUE, flatten, mlflow_values
from camoe.tracking.mlflow_store import open_experiment
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.tracker import Tracker
from camoe.tracking.upload_mark import UploadMark

KILLED = """
import os, signal, sys, time
from camoe.config.tracking import TrackingConfig
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.tracker import Tracker
from camoe.tracking.upload_mark import UploadMark

folder = RunFolder.open(sys.argv[1])
folder.lock()
tracker = Tracker.open(folder, TrackingConfig(uri=sys.argv[2]))
tracker.start()
for step in range(1, 9):
    tracker.log(step, {"loss/total": 1 / step})
    if step % 2 == 0:
        tracker.log(step, {"valid/loss": 2 / step})
    if step == 5:
        print(tracker.state()["metrics_position"], flush=True)
while (mark := UploadMark.load(folder.mlflow_file)) is None or (mark.step, mark.count) != (8, 2):
    time.sleep(0.05)
folder.metrics_file.open("ab").write(b'{"step":9,"loss/to')
os.kill(os.getpid(), signal.SIGKILL)
"""


def tracked(folder: RunFolder, uri: str, **settings: Any) -> Tracker:
    return Tracker.open(folder, TrackingConfig(uri=uri, **settings))


def mlflow_run(folder: RunFolder) -> Any:
    mark = UploadMark.load(folder.mlflow_file)
    assert mark is not None
    client, _ = open_experiment(mark.uri, "camoe")
    return client, client.get_run(mark.run_id)


def history(folder: RunFolder, name: str) -> list[tuple[int, float]]:
    client, run = mlflow_run(folder)
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]


def test_a_whole_run(folder: RunFolder, store: str) -> None:
    tracker = tracked(folder, store)
    began = time.perf_counter()
    tracker.start()
    assert time.perf_counter() - began < 0.5
    (folder.samples / "final.txt").write_text("text")
    for step in (10, 20, 30):
        record = {"loss/total": 1 / step, "phase/name": "adapt", "market/alpha/by_layer": [0.1, 0.2]}
        tracker.log(step, {**record, "valid/ppl": float("inf")})
    assert tracker.finish("finished") == 0
    client, run = mlflow_run(folder)
    assert tracker.mlflow_run_id == run.info.run_id
    assert run.info.status == "FINISHED"
    assert history(folder, "loss/total") == [(10, 1 / 10), (20, 1 / 20), (30, 1 / 30)]
    assert set(run.data.metrics) == {"loss/total", "valid/ppl", "time/peak_memory"}
    assert run.data.params == {"model.n_embd": "32", "model.n_layer": "2", "name": "test", "tracking.uri": "None"}
    assert run.data.tags["camoe.signature"] == "0123abcd"
    assert run.data.tags["camoe.data"] == "hash of the data"
    assert run.data.tags["camoe.run_folder"] == str(folder.path)
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert artifacts == {"config.yaml", "ledger.jsonl", "metrics.jsonl", "provenance.json", "samples"}
    assert folder.status().state == "finished"


def test_every_series_sends_layers_and_experts(folder: RunFolder, store: str) -> None:
    tracker = tracked(folder, store, every_series=True)
    tracker.start()
    tracker.log(1, {"market/alpha/by_layer": [0.1, 0.2], "routing/load/by_expert": [[0.5, 0.5], [0.25, 0.75]]})
    tracker.finish("finished")
    _, run = mlflow_run(folder)
    assert run.data.metrics["market/alpha/layer_01"] == 0.2
    assert run.data.metrics["routing/load/layer_01/expert_1"] == 0.75


def test_a_record_larger_than_a_batch_arrives_whole(folder: RunFolder, store: str) -> None:
    tracker = tracked(folder, store, every_series=True)
    tracker.start()
    load = [[layer + expert / 100 for expert in range(30)] for layer in range(50)]
    tracker.log(1, {"routing/load/by_expert": load})
    tracker.log(2, {"routing/load/by_expert": load})
    assert tracker.finish("finished") == 0
    _, run = mlflow_run(folder)
    assert len(run.data.metrics) == 50 * 30 + 1
    assert history(folder, "routing/load/layer_49/expert_29") == [(1, 49.29), (2, 49.29)]


@pytest.mark.parametrize(("state", "status"), [("failed", "FAILED"), ("killed", "KILLED")])
def test_other_ends_are_told_truly(folder: RunFolder, store: str, state: Any, status: str) -> None:
    tracker = tracked(folder, store)
    tracker.start()
    tracker.finish(state, "RuntimeError: boom")
    _, run = mlflow_run(folder)
    assert run.info.status == status
    assert run.data.tags["camoe.reason"] == "RuntimeError: boom"
    assert (folder.status().state, folder.status().reason) == (state, "RuntimeError: boom")


def test_kill_9_is_repaired_by_the_next_run_and_resume_sends_every_record_once(
    tmp_path: Path, folder: RunFolder, store: str
) -> None:
    folder.unlock()
    command = [sys.executable, "-c", KILLED, str(folder.path), store]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (killed.returncode, killed.stderr) == (-9, "")
    assert folder.status().state == "killed"
    _, before = mlflow_run(folder)
    assert before.info.status == "RUNNING"

    next_run = tracked(RunFolder.create(tmp_path / "outputs", "next", "ffff", config={}), store)
    next_run.start()
    next_run.finish("finished")
    _, repaired = mlflow_run(folder)
    assert repaired.info.status == "KILLED"
    assert "vanished" in repaired.data.tags["camoe.reason"]

    folder.lock()
    tracker = tracked(folder, store)
    tracker.rewind({"metrics_position": int(killed.stdout), "ledger_position": 0})
    tracker.start()
    for step in range(6, 13):  # 6 to 8 are in MLflow already
        tracker.log(step, {"loss/total": 1 / step})
        if step % 2 == 0:
            tracker.log(step, {"valid/loss": 2 / step})
    assert tracker.finish("finished") == 0
    _, after = mlflow_run(folder)
    assert after.info.run_id == before.info.run_id
    assert (after.info.status, after.data.tags["camoe.reason"]) == ("FINISHED", "")
    assert history(folder, "loss/total") == [(step, 1 / step) for step in range(1, 13)]
    assert history(folder, "valid/loss") == [(step, 2 / step) for step in range(2, 13, 2)]
    assert [record["step"] for record in read_metrics(folder.metrics_file) if "loss/total" in record] == [*range(1, 13)]


def test_store_away_training_goes_on_with_one_warning(folder: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    tracker = tracked(folder, "http://anna:secret@127.0.0.1:9")
    tracker.start()
    slowest = 0.0
    for step in range(1, 6):
        began = time.perf_counter()
        tracker.log(step, {"loss/total": 1 / step})
        slowest = max(slowest, time.perf_counter() - began)
    assert tracker.finish("finished") == 5
    assert slowest < 0.5
    assert folder.status().mlflow_missing == 5
    assert [record["loss/total"] for record in read_metrics(folder.metrics_file)] == [1 / s for s in range(1, 6)]
    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("camoe")]
    assert "metrics.jsonl has every record" in warning
    assert "secret" not in warning
    assert "\n" not in warning


def test_records_of_a_locked_store_arrive_when_it_is_free_again(folder: RunFolder, store: str) -> None:
    blocker = sqlite3.connect(store.removeprefix("sqlite:///"), isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    tracker = tracked(folder, store)
    tracker.start()
    for step in (1, 2, 3):
        tracker.log(step, {"loss/total": float(step)})
    time.sleep(1.0)
    assert tracker.mlflow_run_id is None
    blocker.execute("COMMIT")
    assert tracker.finish("finished") == 0
    assert history(folder, "loss/total") == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_records_missed_while_the_store_was_away_follow_on_resume(folder: RunFolder, store: str) -> None:
    first = tracked(folder, "http://127.0.0.1:9")
    first.start()
    first.log(1, {"loss/total": 1.0})
    state = first.state()
    assert first.finish("killed", "SIGTERM") == 1
    folder.lock()
    second = tracked(folder, store)
    second.rewind(state)
    second.start()
    second.log(2, {"loss/total": 0.5})
    assert second.finish("finished") == 0
    assert history(folder, "loss/total") == [(1, 1.0), (2, 0.5)]


def test_a_run_deleted_in_mlflow_is_sent_again_as_a_new_one(folder: RunFolder, store: str) -> None:
    first = tracked(folder, store)
    first.start()
    first.log(1, {"loss/total": 1.0})
    first.finish("killed")
    client, run = mlflow_run(folder)
    client.delete_run(run.info.run_id)
    folder.lock()
    second = tracked(folder, store)
    second.start()
    second.log(2, {"loss/total": 0.5})
    assert second.finish("finished") == 0
    assert mlflow_run(folder)[1].info.run_id != run.info.run_id
    assert history(folder, "loss/total") == [(1, 1.0), (2, 0.5)]


def test_flatten_cuts_long_values_and_hides_passwords() -> None:
    flat = flatten({"a": {"b": [1, 2]}, "long": "x" * 9000, "tracking": {"uri": "http://me:pw@host"}})
    assert flat["a.b"] == "[1, 2]"
    assert len(flat["long"]) == LONGEST_VALUE
    assert flat["tracking.uri"] == "http://***@host"


def test_text_series_and_index_columns_are_no_metrics() -> None:
    record = {"step": 1, "time/unix": 2.0, "phase/name": "x", "market/alpha/by_layer": [1.0], "loss/total": 3}
    assert mlflow_values(record, every_series=False) == {"loss/total": 3.0}
