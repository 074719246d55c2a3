"""metrics.jsonl as arrays, thinned, of runs in every state."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.run_history import NotRecorded, RunHistory
from tests.analysis.market_folder import EXPERTS, LAYERS, TOKENS, WINDOWS, market_folder


@pytest.fixture
def history(tmp_path: Path) -> RunHistory:
    return RunHistory.read(market_folder(tmp_path) / "metrics.jsonl")


def test_series_have_the_shape_that_was_recorded(history: RunHistory) -> None:
    tokens, load = history.series("routing/load/by_expert")
    assert load.shape == (WINDOWS, LAYERS, EXPERTS)
    assert tokens.tolist() == [TOKENS * step for step in range(1, WINDOWS + 1)]
    assert history.series("market/alpha/by_layer")[1].shape == (WINDOWS, LAYERS)
    with pytest.raises(NotRecorded, match="market/nothing was not recorded"):
        history.series("market/nothing")


def test_evaluations_are_placed_by_the_tokens_of_their_step(history: RunHistory) -> None:
    tokens, loss = history.series("valid/loss")
    assert tokens.tolist() == [4 * TOKENS, 8 * TOKENS, 12 * TOKENS]
    assert loss == pytest.approx([3.6, 3.2, 2.8])
    assert history.tokens_at([6])[0] == 6 * TOKENS


def test_a_long_run_is_thinned_to_evenly_spaced_records_and_the_last(tmp_path: Path) -> None:
    file = market_folder(tmp_path) / "metrics.jsonl"
    thin = RunHistory.read(file, most=5)
    assert [record["step"] for record in thin.windows] == [3, 6, 9, 12]
    assert thin.stride == 3
    assert len(thin.evaluations) == 3
    assert thin.final["final/bpb"] == 1.9876
    assert [record["step"] for record in RunHistory.read(file, most=2).windows] == [6, 12]
    odd = RunHistory.read(file, most=3)
    assert [record["step"] for record in odd.windows][-1] == WINDOWS


def test_phases_begin_after_the_last_record_of_the_one_before(history: RunHistory) -> None:
    assert history.phases() == [("warm", 0.0), ("normal", 4 * TOKENS)]


def test_the_newest_value_wins(history: RunHistory) -> None:
    assert history.last("final/bpb") == 1.9876
    assert history.last("valid/loss") == pytest.approx(2.8)
    assert history.last("loss/total") == pytest.approx(2.8)
    assert history.last("nothing") is None


def test_missing_empty_and_torn_files_are_short_histories(tmp_path: Path) -> None:
    assert RunHistory.read(tmp_path / "nothing.jsonl") == RunHistory([], [], {})
    file = market_folder(tmp_path, finished=False, windows=2) / "metrics.jsonl"
    file.write_bytes(file.read_bytes() + b'{"step": 3, "loss/total": 1')
    assert [record["step"] for record in RunHistory.read(file).windows] == [1, 2]
    assert RunHistory.read(file).final == {}


def test_scalars_that_are_nowhere_are_a_column_of_nan(history: RunHistory) -> None:
    frame = history.frame("loss/total", "no/such")
    assert frame["no/such"].isna().all()
    assert frame.index[-1] == WINDOWS * TOKENS
    assert frame["loss/total"].iloc[0] == pytest.approx(3.9)


def test_records_of_another_shape_than_the_last_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    rows = [
        {"step": s, "loss/total": 1.0, "progress/tokens_seen": s, "x": [0.0] * n} for s, n in ((1, 2), (2, 3), (3, 3))
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokens, values = RunHistory.read(file).series("x")
    assert tokens.tolist() == [2, 3]
    assert values.shape == (2, 3)
    assert np.isfinite(values).all()
