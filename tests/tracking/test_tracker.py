from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from camoe.config import ConfigError
from camoe.config.tracking import TrackingConfig
from camoe.tracking.metric_definitions import UndefinedMetricWarning
from camoe.tracking.metrics_log import read_metrics
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.tracker import BEGINNING, Tracker

WITHOUT_MLFLOW = """
import sys
from camoe.config.tracking import TrackingConfig
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.tracker import BEGINNING, Tracker
folder = RunFolder.create(sys.argv[1], "a", "b", config={})
tracker = Tracker.open(folder, TrackingConfig(mlflow=False))
tracker.start()
tracker.log(1, {"loss/total": 1.0})
tracker.finish("finished")
heavy = [name for name in ("mlflow", "torch", "sqlalchemy") if name in sys.modules]
assert not heavy, heavy
"""


@pytest.fixture
def tracker(folder: RunFolder) -> Tracker:
    return Tracker.open(folder, TrackingConfig(mlflow=False))


def test_without_mlflow_it_is_not_even_imported(folder: RunFolder) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_MLFLOW, str(folder.path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_records_carry_step_time_and_memory(tracker: Tracker, folder: RunFolder) -> None:
    tracker.log(7, {"loss/total": 0.5})
    (record,) = read_metrics(folder.metrics_file)
    assert record["step"] == 7
    assert record["loss/total"] == 0.5
    assert record["time/unix"] > 1.6e9
    assert record["time/peak_memory"] > 1e6


def test_an_undefined_name_warns_and_is_kept(tracker: Tracker, folder: RunFolder) -> None:
    with pytest.warns(UndefinedMetricWarning, match="loss/totl: no such metric.*did you mean loss/total"):
        tracker.log(1, {"loss/totl": 1.0})
    assert read_metrics(folder.metrics_file)[0]["loss/totl"] == 1.0


def test_rewind_forgets_what_came_after_the_checkpoint(tracker: Tracker, folder: RunFolder) -> None:
    tracker.log(1, {"loss/total": 1.0})
    tracker.book(1, {"settlements": 1})
    state = tracker.state()
    tracker.log(2, {"loss/total": 2.0})
    tracker.book(2, {"settlements": 2})
    again = Tracker.open(folder, TrackingConfig(mlflow=False))
    again.rewind(state)
    again.log(2, {"loss/total": 2.5})
    again.book(2, {"settlements": 3})
    assert read_metrics(folder.ledger_file) == [{"step": 1, "settlements": 1}, {"step": 2, "settlements": 3}]
    assert [record["loss/total"] for record in read_metrics(folder.metrics_file)] == [1.0, 2.5]


def test_rewind_after_start_is_refused(tracker: Tracker) -> None:
    tracker.start()
    with pytest.raises(RuntimeError, match="before start"):
        tracker.rewind(BEGINNING)


def test_finish_writes_the_status_and_frees_the_folder(tracker: Tracker, folder: RunFolder) -> None:
    with pytest.raises(ConfigError):
        folder.lock()
    assert tracker.finish("killed", "SIGTERM") == 0
    assert (folder.status().state, folder.status().reason) == ("killed", "SIGTERM")
    folder.lock()


def test_a_disk_that_does_not_take_the_status_hides_nothing(
    tracker: Tracker, folder: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunFolder, "set_status", full)
    assert tracker.finish("failed", "a reason") == 0
    assert "status.json does not say that the run failed" in caplog.text
    folder.lock()


def test_it_knows_which_records_a_checkpoint_lacks(tracker: Tracker) -> None:
    tracker.log(1, {"loss/total": 1.0})
    state = tracker.state()
    assert tracker.lacks(state) is None
    later = {**state, "metrics_position": state["metrics_position"] + 1}
    assert tracker.lacks(later) == (
        f"belongs to {later['metrics_position']} bytes of metrics.jsonl, which has {state['metrics_position']}"
    )
