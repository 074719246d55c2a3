from __future__ import annotations

from pathlib import Path

import pytest

from camoe.tracking.metrics_log import MetricsLog
from camoe.tracking.upload_mark import RecordTail, UploadMark


@pytest.fixture
def log(tmp_path: Path) -> MetricsLog:
    return MetricsLog(tmp_path / "metrics.jsonl")


def steps(tail: RecordTail) -> list[tuple[int, int]]:
    return [(here.step, here.count) for _, here in tail.ahead()]


def test_records_of_one_step_are_told_apart(log: MetricsLog) -> None:
    for step in (10, 20, 20, 30):
        log.write({"step": step})
    tail = RecordTail(log.path)
    assert steps(tail) == [(10, 1), (20, 1), (20, 2), (30, 1)]
    assert tail.unsent(UploadMark("", "", step=20, count=1)) == 2
    assert tail.unsent(UploadMark("", "", step=30, count=1)) == 0


def test_the_tail_sees_only_complete_lines_and_goes_on_behind_them(log: MetricsLog) -> None:
    log.write({"step": 1})
    with log.path.open("ab") as file:
        file.write(b'{"step":')
        file.flush()
        tail = RecordTail(log.path)
        ((_, behind),) = list(tail.ahead())
        tail.position = behind
        file.write(b"1}\n")
    assert steps(tail) == [(1, 2)]


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert steps(RecordTail(tmp_path / "none.jsonl")) == []


def test_mark_survives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.json"
    assert UploadMark.load(path) is None
    mark = UploadMark("sqlite:///x", "run", 20, 2)
    mark.save(path)
    assert UploadMark.load(path) == mark


def test_what_a_mark_covers() -> None:
    mark = UploadMark("", "", step=20, count=1)
    assert mark.covers(10, 5)
    assert mark.covers(20, 1)
    assert not mark.covers(20, 2)
    assert not mark.covers(21, 1)
