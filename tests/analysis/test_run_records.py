"""Records of a run come back as frames, whatever state the run is in."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from analysis.run_records import outcome, scalars, series, series_array
from camoe.config import ConfigError
from camoe.tracking.metrics_log import MetricsLog
from tests.analysis.made_runs import EXPERTS, LAYERS, STEPS, TOKENS_PER_STEP, made_run


def log(folder: Path, *records: dict[str, object]) -> Path:
    folder.mkdir(exist_ok=True)
    file = MetricsLog(folder / "metrics.jsonl")
    for record in records:
        file.write(record)
    file.close()
    return folder


def test_one_row_per_step(tmp_path: Path) -> None:
    frame = scalars(made_run(tmp_path, "a", 1, bpb=2.0))
    assert list(frame.index) == list(STEPS)
    assert frame.loc[12, "final/bpb"] == 2.0
    assert frame["final/bpb"].notna().sum() == 1
    assert frame.loc[2, "valid/bpb"] == pytest.approx(2.5)
    assert list(frame["time/training_s"]) == [0.5 * step for step in STEPS]


def test_tokens_at_a_step_that_only_evaluates(tmp_path: Path) -> None:
    tokens = "progress/tokens_seen"
    folder = log(tmp_path, {"step": 2, tokens: 20}, {"step": 3, "valid/bpb": 1.0}, {"step": 6, tokens: 60})
    assert list(scalars(folder)[tokens]) == [20, 30, 60]


def test_nothing_recorded_yet(tmp_path: Path) -> None:
    assert scalars(tmp_path).empty
    assert math.isnan(outcome(tmp_path, 5)["time/tokens_per_s"])
    assert outcome(tmp_path, 5)["steps"] == 0


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    folder = made_run(tmp_path, "a", 1, state="killed")
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 99, "valid/bp')
    assert scalars(folder).index.max() == STEPS[-1]


def test_a_broken_line_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": \n')
    with pytest.raises(ConfigError, match=r"metrics\.jsonl: line 2 is no record"):
        scalars(tmp_path)


def test_series_as_long_frame_and_as_array(tmp_path: Path) -> None:
    folder = made_run(tmp_path, "a", 1)
    frame = series(folder, "routing/load/by_expert")
    steps, values = series_array(folder, "routing/load/by_expert")
    assert values.shape == (len(STEPS), LAYERS, EXPERTS)
    assert list(steps) == list(STEPS)
    row = frame[(frame["step"] == 4) & (frame["layer"] == 1) & (frame["expert"] == 2)]
    assert row["value"].item() == values[1, 1, 2] == 4 / 14
    assert list(series(folder, "routing/load_entropy/by_layer").columns) == ["step", "layer", "value"]


def test_a_series_that_does_not_exist(tmp_path: Path) -> None:
    folder = made_run(tmp_path, "a", 1)
    with pytest.raises(ConfigError, match="did you mean routing/load/by_expert"):
        series(folder, "routing/load/by_exprt")
    with pytest.raises(ConfigError, match="no series 'valid/bpb'"):
        series(folder, "valid/bpb")


def test_outcome_is_the_mean_of_the_last_records_but_the_final_value(tmp_path: Path) -> None:
    found = outcome(made_run(tmp_path, "a", 1, bpb=2.0), last=3)
    assert found["valid/bpb"] == pytest.approx(2.1)
    assert found["final/bpb"] == 2.0
    assert found["time/training_s"] == 0.5 * STEPS[-1]
    assert found["progress/tokens_seen"] == STEPS[-1] * TOKENS_PER_STEP
    assert found["time/tokens_per_s"] == np.median([128 + step for step in STEPS])
    assert found["time/peak_memory"] == 1012
    assert found["progress/stream_hash"] == "stream-1"


def test_a_recorded_nan_is_not_forgotten(tmp_path: Path) -> None:
    folder = made_run(tmp_path, "a", 1, state="failed", evaluations=[1.0, 1.0, 1.0, math.nan, 1.0, 1.0])
    assert math.isnan(outcome(folder, last=5)["valid/bpb"])
    assert outcome(folder, last=2)["valid/bpb"] == 1.0
