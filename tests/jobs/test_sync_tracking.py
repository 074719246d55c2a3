"""job=sync_tracking by its parts, in this process, and by the real command line."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from camoe.config.tracking import TrackingConfig
from camoe.sweeping.plan import PlannedArm, SweepPlan, sweep_folder
from camoe.tracking.metrics_log import read_metrics
from camoe.tracking.mlflow_store import open_experiment
from camoe.tracking.process_identity import ProcessIdentity
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_status import State
from camoe.tracking.store_completion import LeftAlone, StoreAway, StoreCompletion
from camoe.tracking.tracker import Tracker
from tests.jobs.command import ROOT

CONFIG: dict[str, Any] = {"model": {"n_embd": 32}, "job": {"name": "train"}, "tracking": {"uri": None}}
AWAY = "http://127.0.0.1:9"


def ended_run(
    tmp_path: Path,
    uri: str | None,
    state: State = "finished",
    reason: str = "",
    steps: int = 3,
    signature: str = "0123456789",
    **provenance: str,
) -> RunFolder:
    """A run that logged a record a step: into the store, or into none when there is no uri."""
    config = {**CONFIG, "tracking": {"uri": uri, "mlflow": uri is not None}}
    folder = RunFolder.create(tmp_path / "outputs", "run", signature, config=config, provenance=provenance)
    tracker = Tracker.open(folder, TrackingConfig(mlflow=uri is not None, uri=uri))
    tracker.start()
    for step in range(1, steps + 1):
        tracker.log(step, {"loss/total": 1 / step, "valid/loss": 2 / step})
    (folder.samples / "final.txt").write_text("text")
    tracker.finish(state, reason)
    return folder


def completed(folder: RunFolder, uri: str | None = None) -> tuple[Any, ...]:
    """(is new, records, files, status)"""
    done = StoreCompletion(uri).complete(folder, lambda _: None)
    assert done.is_nothing == (not any((done.is_new, done.records, done.files, done.status)))
    return done.is_new, done.records, done.files, done.status


def runs_in(store: str) -> list[Any]:
    client, experiment = open_experiment(store, "camoe")
    return list(client.search_runs([experiment]))


def values(store: str, run_id: str, name: str = "loss/total") -> list[tuple[int, float]]:
    client, _ = open_experiment(store, "camoe")
    return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, name)]


def files_of(store: str, run_id: str) -> set[str]:
    client, _ = open_experiment(store, "camoe")
    return {item.path for place in ("", "samples") for item in client.list_artifacts(run_id, place)}


@pytest.mark.parametrize("uri", [None, AWAY], ids=["without MLflow", "MLflow away all the time"])
def test_a_run_that_mlflow_never_saw_arrives_whole_and_only_once(tmp_path: Path, store: str, uri: str | None) -> None:
    folder = ended_run(tmp_path, uri, "failed", "RuntimeError: boom")
    assert folder.status().mlflow_missing == (3 if uri else 0)
    assert completed(folder, store) == (True, 3, 5, "FAILED")
    for _ in range(2):
        assert completed(folder, store) == (False, 0, 0, None)
        assert completed(folder) == (False, 0, 0, None)
    (run,) = runs_in(store)
    assert (run.info.status, run.data.tags["camoe.reason"]) == ("FAILED", "RuntimeError: boom")
    assert run.data.params["model.n_embd"] == "32"
    assert run.info.end_time == int(read_metrics(folder.metrics_file)[-1]["time/unix"] * 1000)
    assert values(store, run.info.run_id) == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]
    assert files_of(store, run.info.run_id) >= {"config.yaml", "metrics.jsonl", "samples/final.txt"}
    assert (folder.status().state, folder.status().mlflow_missing) == ("failed", 0)


def test_what_got_lost_on_the_way_is_filled_in(tmp_path: Path, store: str) -> None:
    """Records in the middle, a file, the status and the reason."""
    folder = ended_run(tmp_path, store, "killed", "SIGTERM", steps=6)
    assert completed(folder) == (False, 0, 0, None)
    (run,) = runs_in(store)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("DELETE FROM metrics WHERE step IN (3, 4)")
        database.execute("UPDATE runs SET status = 'RUNNING'")
        database.execute("DELETE FROM tags WHERE key = 'camoe.reason'")
    (sent,) = tmp_path.glob("mlartifacts/**/final.txt")
    sent.unlink()
    is_new, records, files, status = completed(folder)
    assert (is_new, files, status) == (False, 1, "KILLED")
    assert records >= 2
    (run,) = runs_in(store)
    assert (run.info.status, run.data.tags["camoe.reason"]) == ("KILLED", "SIGTERM")
    for name, scale in {"loss/total": 1, "valid/loss": 2}.items():
        assert values(store, run.info.run_id, name) == [(step, scale / step) for step in range(1, 7)]
    assert sent.is_file()
    assert completed(folder) == (False, 0, 0, None)


def test_another_store_gets_a_copy_and_both_stay_complete(tmp_path: Path, store: str, migrated_store: Path) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    shutil.copy(migrated_store, tmp_path / "other.db")
    folder = ended_run(tmp_path, store)
    assert completed(folder, other) == (True, 3, 5, "FINISHED")
    assert completed(folder, store) == (False, 0, 0, None)
    assert completed(folder, other) == (False, 0, 0, None)
    assert json.loads(folder.mlflow_file.read_text())["uri"] == other
    ids = {uri: [run.info.run_id for run in runs_in(uri)] for uri in (store, other)}
    assert [len(found) for found in ids.values()] == [1, 1]
    assert ids[store] != ids[other]
    assert values(store, ids[store][0]) == values(other, ids[other][0])


def test_the_same_store_at_another_address_gets_no_copy(tmp_path: Path, store: str) -> None:
    folder = ended_run(tmp_path, store)
    (tmp_path / "link").symlink_to(tmp_path)
    assert completed(folder, f"sqlite:///{tmp_path}/link/mlflow.db") == (False, 0, 0, None)
    assert len(runs_in(store)) == 1


def test_a_copied_run_that_goes_on_stays_with_its_own_store(tmp_path: Path, store: str, migrated_store: Path) -> None:
    shutil.copy(migrated_store, tmp_path / "other.db")
    folder = ended_run(tmp_path, store, "killed", "SIGTERM")
    completed(folder, f"sqlite:///{tmp_path / 'other.db'}")
    folder.lock()
    tracker = Tracker.open(folder, TrackingConfig(uri=store))
    tracker.start()
    tracker.log(4, {"loss/total": 1 / 4})
    assert tracker.finish("finished") == 0
    (run,) = runs_in(store)
    assert run.info.status == "FINISHED"
    assert values(store, run.info.run_id) == [(step, 1 / step) for step in range(1, 5)]


def test_running_folders_deleted_runs_and_profiles_are_left_alone(tmp_path: Path, store: str) -> None:
    running = RunFolder.create(tmp_path / "outputs", "running", "a" * 10, config=CONFIG)
    with pytest.raises(LeftAlone, match=rf"running as process {os.getpid()} on "):
        completed(running, store)
    elsewhere = ended_run(tmp_path, None)
    elsewhere.write_status(type(elsewhere.status())("running", process=ProcessIdentity("far", 1, 1.0)))
    with pytest.raises(LeftAlone, match="running as process 1 on far, unless it died there"):
        completed(elsewhere, store)
    profile = RunFolder.create(tmp_path / "outputs", "p", "b", config={"job": {"name": "profile"}})
    profile.set_status("finished")
    with pytest.raises(LeftAlone, match="job=profile, which keeps out of MLflow"):
        completed(profile, store)
    assert runs_in(store) == []
    deleted = ended_run(tmp_path, store)
    (run,) = runs_in(store)
    open_experiment(store, "camoe")[0].delete_run(run.info.run_id)
    with pytest.raises(LeftAlone, match=f"its run {run.info.run_id} was deleted in MLflow; restore it"):
        completed(deleted)
    assert runs_in(store) == []


def test_a_folder_in_use_is_left_alone_and_free_afterwards(tmp_path: Path, store: str) -> None:
    folder = ended_run(tmp_path, store)
    folder.lock()
    with pytest.raises(LeftAlone, match="this run is in use by this process"):
        completed(folder)
    folder.unlock()
    completed(folder)
    folder.lock()


def test_a_store_that_is_away_is_tried_once_for_all_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def away(uri: str, name: str) -> None:
        calls.append(f"{uri} {name}")
        raise OSError("no route\nto host")

    monkeypatch.setattr("camoe.tracking.store_completion.open_experiment", away)
    stores = StoreCompletion("http://anna:secret@far")
    for _ in range(2):
        with pytest.raises(StoreAway, match=r"^MLflow at http://\*\*\*@far: no route$"):
            stores.complete(ended_run(tmp_path, None), lambda _: None)
    assert calls == ["http://anna:secret@far camoe"]


def test_a_run_of_a_sweep_becomes_a_child_where_its_parent_is(tmp_path: Path, store: str, migrated_store: Path) -> None:
    shutil.copy(migrated_store, tmp_path / "other.db")
    client, experiment = open_experiment(store, "camoe")
    parent = client.create_run(experiment, run_name="sweep").info.run_id
    folder = ended_run(tmp_path, None)
    adopted = [StoreCompletion(store).complete(folder, lambda _: None, parent).is_adopted for _ in range(2)]
    assert adopted == [True, False]
    child = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert [run.info.run_name for run in child] == [folder.path.name]
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert not StoreCompletion(other).complete(folder, lambda _: None, parent).is_adopted


def test_interrupted_between_two_batches_it_goes_on_where_it_was(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "camoe.tracking.mlflow_records.METRICS_PER_BATCH", 4
    )  # a record and the first value of the next
    folder = ended_run(tmp_path, None, steps=9)

    def interrupt(sent: int) -> None:
        if sent > folder.metrics_file.stat().st_size / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StoreCompletion(store).complete(folder, interrupt)
    (run,) = runs_in(store)
    assert run.info.status == "RUNNING"
    folder.mlflow_file.unlink()  # as if it had been killed before it wrote that down
    is_new, records, _, status = completed(folder, store)
    assert (is_new, status) == (False, "FINISHED")
    assert 0 < records < 9
    assert values(store, run.info.run_id) == [(step, 1 / step) for step in range(1, 10)]


def sync(cwd: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run.py"), "job=sync_tracking", *overrides]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_the_command_says_what_it_did_to_each_run(tmp_path: Path, store: str) -> None:
    ended_run(tmp_path, store)
    ended_run(tmp_path, None)
    RunFolder.create(tmp_path / "outputs", "running", "a" * 10, config=CONFIG)
    (tmp_path / "outputs" / "2000-01-01" / "half-made").mkdir(parents=True)
    first = sync(tmp_path, f"tracking.uri={store}")
    assert (first.returncode, first.stderr) == (0, "")
    *lines, closing, look = first.stdout.splitlines()
    assert {line.partition(": ")[2] for line in lines} == {
        "completed: new in MLflow, 3 records, 5 files, status FINISHED",
        f"left alone: running as {ProcessIdentity.current()}",
    }
    assert closing == (
        "1 complete already, 1 completed, 1 left alone; sent: new runs 1, records 3, files 5, statuses 1"
    )
    assert look == "mlflow ui --backend-store-uri sqlite:///mlflow.db"
    second = sync(tmp_path)
    assert second.stdout.splitlines()[-2] == "2 complete already, 1 left alone; sent: nothing"


@pytest.mark.slow
def test_a_sweep_is_the_runs_of_its_plan_and_they_are_children_of_its_run(tmp_path: Path, store: str) -> None:
    ended_run(tmp_path, store)
    client, experiment = open_experiment(store, "camoe")
    parent = client.create_run(experiment, run_name="study").info.run_id
    arms = [PlannedArm(f"arm{seed}", seed, (), str(seed) * 10) for seed in (1, 2, 3)]
    plan = SweepPlan("study", "command", "now", tuple(arms), {}, parent)
    plan.save(sweep_folder(tmp_path / "outputs", "study"))
    assert "sweep: no run of study has begun" in sync(tmp_path, "sweep=study").stderr
    for arm in arms[:2]:
        ended_run(tmp_path, None, signature=arm.signature, sweep="study")
    done = sync(tmp_path, "sweep=study", f"tracking.uri={store}")
    assert "2 completed; sent: new runs 2, parents 2, records 6, files 10, statuses 2" in done.stdout
    assert len(client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")) == 2
    assert "sweep: no sweep 'stdy'; did you mean study?" in sync(tmp_path, "sweep=stdy").stderr


def test_a_store_that_is_away_costs_one_line_and_exit_code_1(tmp_path: Path) -> None:
    folder = ended_run(tmp_path, None)
    result = sync(tmp_path, f"job.run={folder.path}", f"tracking.uri={AWAY}")
    assert (result.returncode, result.stderr) == (1, "")
    line, closing = result.stdout.splitlines()
    assert f"not sent: MLflow at {AWAY}: " in line
    assert closing == "1 not sent; sent: nothing"


REFUSED = {
    "job.run=nowhere": "job.run: nowhere does not exist",
    "output_dir=nowhere": "output_dir: no run folders in nowhere",
    "model=pilot": "leave out model=pilot",
    "tracking.every_series=true": "leave out tracking.every_series=true",
    "tracking.uri=htp://host": "tracking.uri: no scheme 'htp'; did you mean http?",
}


@pytest.mark.parametrize("override", REFUSED)
def test_mistakes_are_refused_in_one_line(tmp_path: Path, override: str) -> None:
    result = sync(tmp_path, override)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert REFUSED[override] in result.stderr
    assert list(tmp_path.iterdir()) == []
