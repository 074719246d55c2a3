"""The margin in the metric's unit, the metric's direction, and the divergence policy."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

import analysis
from analysis.primary_metric import primary_metric, with_values
from camoe.config import ConfigError
from camoe.config.analysis import AnalysisConfig
from tests.analysis.made_runs import BYTES_PER_TOKEN, made_run

PLAN = AnalysisConfig()


@pytest.mark.parametrize("room", ["final", "valid"])
def test_margin_in_bits_per_byte_by_the_runs_own_bytes_per_token(tmp_path: Path, room: str) -> None:
    made_run(tmp_path, "a", 1)
    runs = analysis.load_runs(output_dir=tmp_path / "outputs")
    found = primary_metric(replace(PLAN, primary_metric=f"{room}/bpb"), runs)
    assert found.margin == pytest.approx(0.005 / (math.log(2) * BYTES_PER_TOKEN))
    assert (found.unit, found.better) == ("bits/byte", "lower")
    assert primary_metric(replace(PLAN, primary_metric=f"{room}/loss"), runs).margin == 0.005


def test_margin_in_the_metrics_own_unit(tmp_path: Path) -> None:
    made_run(tmp_path, "a", 1)
    runs = analysis.load_runs(output_dir=tmp_path / "outputs")
    plan = replace(PLAN, primary_metric="final/maxvio_global", margin=0.1)
    with pytest.raises(ConfigError, match="nats_per_token says nothing about final/maxvio_global"):
        primary_metric(plan, runs)
    assert primary_metric(replace(plan, margin_unit="metric"), runs).margin == 0.1
    assert primary_metric(replace(PLAN, margin=0.1, margin_unit="metric"), runs).margin == 0.1


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("final/bbp", "no metric 'final/bbp' in these runs; did you mean final/bpb"),
        ("config.train.ctx_len", "no metric"),
        ("market/gini", "no metric 'market/gini' in these runs"),
        ("routing/maxvio_noise_floor", "neither good nor bad"),
    ],
)
def test_refusals(tmp_path: Path, name: str, problem: str) -> None:
    made_run(tmp_path, "a", 1)
    with pytest.raises(ConfigError, match=problem):
        primary_metric(replace(PLAN, primary_metric=name), analysis.load_runs(output_dir=tmp_path / "outputs"))


def test_divergence_policy(tmp_path: Path) -> None:
    made_run(tmp_path, "fine", 1, 2.0)
    made_run(tmp_path, "nan", 2, math.nan)
    made_run(tmp_path, "high", 3, 8.5)
    made_run(tmp_path, "failed", 4, state="failed")
    made_run(tmp_path, "killed", 5, state="killed")
    loaded = analysis.load_runs(output_dir=tmp_path / "outputs")
    runs = with_values(loaded, PLAN).set_index("name")
    assert set(runs.index[runs["diverged"]]) == {"nan", "high", "failed"}
    assert list(runs.index[runs["counted"]]) == ["fine"]
    lenient = with_values(loaded, replace(PLAN, diverged_bpb=9.0, failed_is_diverged=False)).set_index("name")
    assert list(lenient.index[lenient["diverged"]]) == ["nan"]
    assert set(lenient.index[lenient["counted"]]) == {"fine", "high"}
