"""A run in a store that is made equal to its folder, by a process that knows less than the store does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from camoe.config.tracking import TrackingConfig
from camoe.tracking.metrics_log import MetricsLog
from camoe.tracking.mlflow_records import METRICS_PER_BATCH, WITNESS, StoredRecords, batches
from camoe.tracking.mlflow_run import MlflowRun, create_run, find_run, run_key
from camoe.tracking.mlflow_store import open_experiment
from camoe.tracking.process_identity import ProcessIdentity
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.tracker import Tracker
from camoe.tracking.upload_mark import RecordTail, UploadMark


def logged(folder: RunFolder, store: str, steps: range) -> None:
    """Two records a step, the second as fast as can be."""
    tracker = Tracker.open(folder, TrackingConfig(uri=store))
    tracker.start()
    for step in steps:
        tracker.log(step, {"loss/total": 1 / step})
        tracker.log(step, {"valid/loss": 2 / step})
    assert tracker.finish("killed", "SIGTERM") == 0
    folder.lock()


def followed(folder: RunFolder, store: str) -> tuple[Any, MlflowRun]:
    client, experiment = open_experiment(store, "camoe")
    found = find_run(client, experiment, folder)
    assert found is not None
    return client, MlflowRun(folder, store, client, found, every_series=False)


def rewritten(folder: RunFolder) -> None:
    """The records as a resumed run writes them: the same but for the clock."""
    lines = folder.metrics_file.read_text().splitlines()
    with_other_times = [
        line.replace('"time/unix":1', '"time/unix":2').replace('memory":', 'memory":1') for line in lines
    ]
    folder.metrics_file.write_text("\n".join(with_other_times) + "\n")
    assert with_other_times != lines


def test_a_record_sent_without_being_written_down_is_not_sent_again(folder: RunFolder, store: str) -> None:
    logged(folder, store, range(1, 5))
    mark = UploadMark.load(folder.mlflow_file)
    assert mark is not None
    replace(mark, step=2, count=1).save(folder.mlflow_file)
    rewritten(folder)
    client, run = followed(folder, store)
    assert run.unsent() == 0
    assert list(run.send_records()) == [folder.metrics_file.stat().st_size]
    assert UploadMark.load(folder.mlflow_file) == mark
    for name, value in {"loss/total": 1, "valid/loss": 2}.items():
        history = [(metric.step, metric.value) for metric in client.get_metric_history(run.run_id, name)]
        assert history == [(step, value / step) for step in range(1, 5)]


def test_what_was_written_down_but_is_not_there_is_sent_again(folder: RunFolder, store: str, tmp_path: Path) -> None:
    """A store brought back from a backup has less than mlflow.json says."""
    logged(folder, store, range(1, 3))
    backup = (tmp_path / "mlflow.db").read_bytes()
    logged(folder, store, range(3, 5))
    (tmp_path / "mlflow.db").write_bytes(backup)
    client, run = followed(folder, store)
    assert run.unsent() == 4
    assert list(run.send_records()) == [folder.metrics_file.stat().st_size]
    history = [(metric.step, metric.value) for metric in client.get_metric_history(run.run_id, "loss/total")]
    assert history == [(step, 1 / step) for step in range(1, 5)]


def test_a_run_made_without_being_written_down_is_found_by_its_key(folder: RunFolder, store: str) -> None:
    client, experiment = open_experiment(store, "camoe")
    assert find_run(client, experiment, folder) is None
    made = create_run(client, experiment, folder, ProcessIdentity.current())
    other = RunFolder.create(folder.path.parents[1], "test", "0123abcd", config={})
    assert run_key(other) != run_key(folder)
    assert find_run(client, experiment, other) is None
    found = find_run(client, experiment, folder)
    assert found is not None
    assert found.info.run_id == made.info.run_id


def test_a_run_that_lives_is_preferred_to_its_deleted_twin(folder: RunFolder, store: str) -> None:
    client, experiment = open_experiment(store, "camoe")
    first, second = (create_run(client, experiment, folder, ProcessIdentity.current()) for _ in range(2))
    client.delete_run(first.info.run_id)
    found = find_run(client, experiment, folder)
    assert found is not None
    assert found.info.run_id == second.info.run_id


def test_artifacts_go_again_only_when_they_changed(folder: RunFolder, store: str, tmp_path: Path) -> None:
    (folder.samples / "final.txt").write_text("text")
    logged(folder, store, range(1, 2))
    _, run = followed(folder, store)
    assert run.send_artifacts() == 0
    (folder.samples / "final.txt").write_text("news")  # no larger
    assert run.send_artifacts() == 1
    (sent,) = tmp_path.glob("mlartifacts/**/final.txt")
    assert sent.read_text() == "news"
    sent.unlink()
    assert run.send_artifacts() == 1
    assert sent.is_file()


@pytest.mark.parametrize("n_metric", [1, 7, METRICS_PER_BATCH, METRICS_PER_BATCH + 1, 2 * METRICS_PER_BATCH + 3])
def test_batches_hold_every_value_once_and_the_witness_last_of_its_record(tmp_path: Path, n_metric: int) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in (1, 1, 2):
        log.write({"step": step, "time/unix": 5.0, WITNESS: 1, **{f"loss/{i}": i for i in range(n_metric)}})
    packed = list(batches(RecordTail(log.path), StoredRecords(), every_series=False))
    sent = [metric for batch, _ in packed for metric in batch]
    assert all(len(batch) <= METRICS_PER_BATCH for batch, _ in packed)
    assert [metric.key for metric in sent] == [*(f"loss/{i}" for i in range(n_metric)), WITNESS] * 3
    assert len({(metric.key, metric.step, metric.timestamp) for metric in sent}) == len(sent)
    witnesses = 0
    for batch, position in packed:
        witnesses += sum(metric.key == WITNESS for metric in batch)
        assert ((1, 1), (1, 2), (2, 1))[witnesses - 1] == (position.step, position.count) or witnesses == 0
