from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camoe.tracking.metrics_log import MetricsLog, last_record_with, parse_record, read_metrics


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_records_come_back_bit_for_bit(path: Path) -> None:
    record = {"step": 3, "a": 0.1 + 0.2, "b": [[1e-310, -0.0], [1 / 3, 5]], "phase/name": "adapt", "n": 2**60}
    log = MetricsLog(path)
    log.write(record)
    (again,) = read_metrics(path)
    assert again == record
    assert math.copysign(1, again["b"][0][1]) == -1


@settings(max_examples=50, deadline=None)
@given(st.floats())
def test_any_float_survives(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    path = tmp_path_factory.mktemp("log") / "m.jsonl"
    MetricsLog(path).write({"step": 1, "x": value})
    again = read_metrics(path)[0]["x"]
    assert again == value or (math.isnan(again) and math.isnan(value))


def test_every_line_is_strict_json_and_pandas_reads_non_finite_numbers(path: Path) -> None:
    log = MetricsLog(path)
    values = [1.5, math.nan, math.inf, -math.inf]
    for step, value in enumerate(values):
        log.write({"step": step, "x": value, "series": [value]})
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    frame = pd.read_json(path, lines=True)
    assert frame["x"].dtype == float
    assert frame["x"][0] == 1.5
    assert math.isnan(frame["x"][1])
    assert frame["x"][2:].tolist() == values[2:]
    assert read_metrics(path)[3]["series"] == [-math.inf]


def test_a_record_is_on_disk_when_write_returns(path: Path) -> None:
    log = MetricsLog(path)
    log.write({"step": 1})
    assert parse_record(path.read_bytes()) == {"step": 1}


def test_torn_last_line_is_left_out_by_the_reader_and_cut_by_the_writer(path: Path) -> None:
    MetricsLog(path).write({"step": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step":2,"lo')
    assert read_metrics(path) == [{"step": 1}]
    log = MetricsLog(path)
    assert path.read_bytes() == whole
    log.write({"step": 2})
    assert [record["step"] for record in read_metrics(path)] == [1, 2]


def test_rewinding_to_a_position(path: Path) -> None:
    log = MetricsLog(path)
    assert log.position() == 0
    log.write({"step": 1})
    position = log.position()
    log.write({"step": 2})
    log.truncate(position)
    log.write({"step": 2, "again": 1})
    assert read_metrics(path) == [{"step": 1}, {"step": 2, "again": 1}]


def test_a_position_beyond_the_end_is_refused(path: Path) -> None:
    log = MetricsLog(path)
    log.write({"step": 1})
    with pytest.raises(ValueError, match="has 11 bytes, but the checkpoint was made at byte 99"):
        log.truncate(99)


def test_what_is_no_number_is_refused_at_once(path: Path) -> None:
    with pytest.raises(TypeError):
        MetricsLog(path).write({"step": 1, "x": object()})


def test_the_newest_record_with_a_name(path: Path) -> None:
    log = MetricsLog(path)
    assert last_record_with(path, "x/y") == {}
    for record in ({"step": 1, "x/y": 1.0}, {"step": 2, "x/y": math.nan}, {"step": 3, "x/y/worst": 3.0}):
        log.write(record)
    path.write_bytes(path.read_bytes() + b'{"step":4,"x/y":')  # torn
    found = last_record_with(path, "x/y")
    assert found["step"] == 2
    assert math.isnan(found["x/y"])


def test_a_record_that_the_disk_takes_in_parts_arrives_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, write = MetricsLog(path), os.write
    monkeypatch.setattr("camoe.tracking.metrics_log.os.write", lambda file, line: write(file, line[:3]))
    log.write({"step": 1, "x": 0.5})
    assert read_metrics(path) == [{"step": 1, "x": 0.5}]
