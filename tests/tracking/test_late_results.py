"""Results after the end of a run: in its own MLflow run, and one warning where that cannot be."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from camoe.config.tracking import TrackingConfig
from camoe.tracking.late_results import LateResult, send_late_results
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.tracker import Tracker
from camoe.tracking.upload_mark import UploadMark

RESULTS = [LateResult("evaluation/domain/[a]/bpb", 1.5, 7), LateResult("evaluation/error", float("nan"), 7)]


@pytest.fixture
def tracked(tmp_path: Path) -> RunFolder:
    config = {"tracking": {"mlflow": True}}
    made = RunFolder.create(tmp_path / "outputs", "test", "0123abcd", config=config, provenance={"data": "hash"})
    made.unlock()
    return made


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_they_join_the_run_that_ended(tracked: RunFolder, store: str, caplog: pytest.LogCaptureFixture) -> None:
    tracker = Tracker.open(tracked, TrackingConfig(uri=store))
    tracker.start()
    tracker.log(1, {"loss/total": 2.0})
    assert tracker.finish("finished") == 0
    file = tracked.path / "evaluation.json"
    file.write_text("{}")
    assert send_late_results(tracked, RESULTS, [file])
    from mlflow.tracking import MlflowClient

    mark = UploadMark.load(tracked.mlflow_file)
    assert mark is not None
    client = MlflowClient(store)
    run = client.get_run(mark.run_id)
    assert run.data.metrics["evaluation/domain/_a_/bpb"] == 1.5
    assert "evaluation/error" not in run.data.metrics
    assert [point.step for point in client.get_metric_history(mark.run_id, "evaluation/domain/_a_/bpb")] == [7]
    assert run.info.status == "FINISHED"
    assert "evaluation.json" in [item.path for item in client.list_artifacts(mark.run_id)]
    assert warnings(caplog) == []


@pytest.mark.parametrize("uri", ["sqlite:///{}/gone.db", "http://127.0.0.1:9"])
def test_a_dead_store_is_one_warning(tracked: RunFolder, uri: str, caplog: pytest.LogCaptureFixture) -> None:
    UploadMark(uri.format(tracked.path), "0" * 32).save(tracked.mlflow_file)
    assert not send_late_results(tracked, RESULTS, [])
    (warning,) = warnings(caplog)
    assert warning.startswith(f"MLflow at {uri.format(tracked.path)}: ")
    assert "\n" not in warning
    assert not (tracked.path / "gone.db").exists()


def test_a_run_that_never_reached_mlflow_is_told_how_to(tracked: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    assert not send_late_results(tracked, RESULTS, [])
    assert "job=sync_tracking" in warnings(caplog)[0]


def test_a_run_that_keeps_out_of_mlflow_is_left_in_peace(folder: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    UploadMark("sqlite:////gone/mlflow.db", "0" * 32).save(folder.mlflow_file)
    assert not send_late_results(folder, RESULTS, [])
    assert warnings(caplog) == []
