"""An MLflow store that is locked or away: training does not wait for it, and what it missed can be sent later."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.soak_records import steps_in_mlflow
from tests.faults.evidence import assert_same_end, records
from tests.faults.jobs import JobServer
from tests.faults.reference import Reference
from tests.jobs.command import run_folder

pytestmark = pytest.mark.slow
AWAY = "http://127.0.0.1:9"


def _tracked(settings: Sequence[str], uri: str) -> list[str]:
    """The same run, its records sent to this store."""
    own = [setting for setting in settings if not setting.startswith("tracking")]
    return [*own, "tracking=mlflow", f"tracking.uri={uri}", "tracking.log_every=2"]


def test_a_run_whose_store_is_away_is_the_same_run_and_can_be_sent_to_another(
    jobs: JobServer, reference: Callable[[str], Reference], tmp_path: Path, store: str
) -> None:
    expected = reference("default")
    done = jobs.run(tmp_path, *_tracked(expected.settings, AWAY))
    assert done.code == 0, done.output
    folder = run_folder(tmp_path)
    assert f"warning: MLflow lacks {len(records(folder))} records; metrics.jsonl has them all" in done.output
    assert_same_end(folder, expected.folder)
    done = jobs.run(tmp_path, "job=sync_tracking", f"job.run={folder}", f"tracking.uri={store}")
    assert done.code == 0, done.output
    assert steps_in_mlflow(folder, store, "loss/total") == [r["step"] for r in records(folder) if "loss/total" in r]


def test_a_run_whose_store_is_locked_does_not_wait_for_it(
    jobs: JobServer, reference: Callable[[str], Reference], tmp_path: Path, store: str
) -> None:
    expected = reference("default")
    job = jobs.start(tmp_path, *_tracked(expected.settings, store))
    with closing(sqlite3.connect(store.removeprefix("sqlite:///"), timeout=60)) as rival:
        rival.execute("BEGIN EXCLUSIVE")
        while "scoring the held-out text" not in job.output.read_text():
            assert not job.ended(0.05), job.output.read_text()
        rival.rollback()
    assert job.wait() == 0, job.output.read_text()
    folder = run_folder(tmp_path)
    assert_same_end(folder, expected.folder)
    assert "MLflow lacks" not in job.output.read_text()
    assert steps_in_mlflow(folder, store, "loss/total") == [r["step"] for r in records(folder) if "loss/total" in r]
