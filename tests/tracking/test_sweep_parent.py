"""The run of a whole sweep in a real sqlite store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from camoe.config import ConfigError
from camoe.config.tracking import TrackingConfig
from camoe.tracking.sweep_parent import VARIABLE, SweepParent, begin_parent, parent_tags


def begun(store: str, folder: Path) -> SweepParent:
    parent = begin_parent(TrackingConfig(uri=store), "study", folder, "run.py -m")
    assert parent is not None
    return parent


def stored(store: str, run_id: str) -> Run:
    return MlflowClient(store).get_run(run_id)


def test_is_running_until_it_says_how_it_ended(store: str, tmp_path: Path) -> None:
    parent = begun(store, tmp_path)
    run = stored(store, parent.run_id)
    assert (run.info.status, run.info.run_name, run.data.tags["camoe.sweep"]) == ("RUNNING", "study", "study")
    (tmp_path / "sweep.json").write_text(json.dumps({"sweep": "study"}))
    parent.finish("failed", "3 finished, 1 failed", [tmp_path / "sweep.json"])
    run = stored(store, parent.run_id)
    assert (run.info.status, run.data.tags["camoe.reason"]) == ("FAILED", "3 finished, 1 failed")
    assert [item.path for item in MlflowClient(store).list_artifacts(parent.run_id)] == ["sweep.json"]


def test_the_same_sweep_again_is_the_same_run(store: str, tmp_path: Path) -> None:
    first = begun(store, tmp_path / "one")
    first.finish("killed", "SIGINT", [])
    again = begun(store, tmp_path / "one")
    assert again.run_id == first.run_id
    assert stored(store, again.run_id).info.status == "RUNNING"
    assert begun(store, tmp_path / "two").run_id != first.run_id


def test_adopts_runs_without_a_parent(store: str, tmp_path: Path) -> None:
    first, second = begun(store, tmp_path / "one"), begun(store, tmp_path / "two")
    client = MlflowClient(store)
    child = client.create_run(stored(store, first.run_id).info.experiment_id).info.run_id
    first.adopt([child])
    second.adopt([child])
    assert stored(store, child).data.tags["mlflow.parentRunId"] == first.run_id


def test_a_store_that_is_away_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = TrackingConfig(uri="http://127.0.0.1:1")
    assert begin_parent(config, "study", tmp_path, "run.py -m") is None
    assert "no parent run" in caplog.text
    with pytest.raises(ConfigError, match=r"tracking\.uri"):
        begin_parent(TrackingConfig(uri="foo://bar"), "study", tmp_path, "run.py -m")


def test_a_store_that_goes_away_costs_a_warning(store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parent = begun(store, tmp_path)
    MlflowClient(store).delete_run(parent.run_id)
    parent.finish("finished", "", [tmp_path / "missing"])
    assert "no parent run" in caplog.text


def test_children_are_tagged_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert parent_tags() == {}
    monkeypatch.setenv(VARIABLE, "abc")
    assert parent_tags() == {"mlflow.parentRunId": "abc"}
