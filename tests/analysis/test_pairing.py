"""Runs are paired by seeds, and refused in one line where anything else differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.pairing import Pairs, pair
from analysis.primary_metric import with_values
from camoe.config import ConfigError
from camoe.config.analysis import AnalysisConfig
from tests.analysis.made_runs import BEGAN, WEIGHTS, made_run


def pairs(root: Path) -> Pairs:
    """Of the runs named a with those named b."""
    runs = with_values(analysis.load_runs(output_dir=root / "outputs"), AnalysisConfig())
    runs = runs.assign(arm=runs["name"])
    return pair(runs[runs["name"] == "a"], runs[runs["name"] == "b"])


def test_by_seeds_and_nothing_else(tmp_path: Path) -> None:
    for arm, seed, bpb in (("a", 1, 1.5), ("a", 2, 1.75), ("a", 3, 9.0), ("b", 2, 1.25), ("b", 1, 2.0)):
        made_run(tmp_path, arm, seed, bpb)
    frame = pairs(tmp_path).frame
    assert list(frame["seed_init"]) == list(frame["seed_data"]) == [1, 2]
    assert list(frame["difference"]) == [-0.5, 0.5]
    assert list(frame["flops_ratio"]) == [1.0, 1.0]
    assert [folder.name.split("-")[3] for folder in frame["reference_folder"]] == ["b", "b"]


def test_runs_that_differ_in_router_noise_alone_are_averaged(tmp_path: Path) -> None:
    made_run(tmp_path, "b", 1, 1.0)
    made_run(tmp_path, "a", 1, 1.5)
    made_run(tmp_path, "a", 1, 2.5, router_noise=5, now=BEGAN)
    assert list(pairs(tmp_path).frame["difference"]) == [1.0]


@pytest.mark.parametrize(
    ("final", "facts", "problem"),
    [
        ({"progress/stream_hash": "other"}, {}, r"training sequences \(stream hash\): other and stream-2"),
        ({"progress/tokens_seen": 700}, {}, "training tokens: 700 and 768"),
        ({}, {"data": "other text"}, "held-out text or tokenizer"),
        ({}, {"initial_weights_by_group": dict.fromkeys(WEIGHTS, "x")}, "initial weights of the backbone"),
    ],
)
def test_refusals(tmp_path: Path, final: dict[str, Any], facts: dict[str, Any], problem: str) -> None:
    for arm in "ab":
        made_run(tmp_path, arm, 1)
    made_run(tmp_path, "a", 2, final=final, facts=facts)
    made_run(tmp_path, "b", 2)
    with pytest.raises(ConfigError, match=f"^a and b, seed 2: cannot be paired, they differ in {problem}") as refusal:
        pairs(tmp_path)
    assert "\n" not in str(refusal.value)


def test_other_weights_than_the_backbones_may_differ(tmp_path: Path) -> None:
    made_run(tmp_path, "a", 1, facts={"initial_weights_by_group": {"rwkv_backbone": "rwkv_backbone-1", "critic": "x"}})
    made_run(tmp_path, "b", 1)
    assert len(pairs(tmp_path).frame) == 1


def test_measured_training_flops_go_before_those_of_the_evaluation(tmp_path: Path) -> None:
    made_run(tmp_path, "a", 1, final={"progress/train_flops": 3e9})
    made_run(tmp_path, "b", 1, final={"progress/train_flops": 2e9})
    made_run(tmp_path, "a", 2, final={"progress/train_flops": 3e9, "final/flops_per_token": 4e6})
    made_run(tmp_path, "b", 2, final={"final/flops_per_token": 2e6})
    assert list(pairs(tmp_path).frame["flops_ratio"]) == [1.5, 2.0]


def test_what_nobody_recorded_is_said(tmp_path: Path) -> None:
    for arm in "ab":
        made_run(tmp_path, arm, 1, facts={"initial_weights_by_group": {"rwkv_backbone": "r"}, "data": None})
    assert pairs(tmp_path).unchecked == (
        "held-out text or tokenizer (data hash)",
        "initial weights of embedding and head (hash)",
    )


def test_no_common_seed(tmp_path: Path) -> None:
    made_run(tmp_path, "a", 1)
    made_run(tmp_path, "b", 2)
    found = pairs(tmp_path)
    assert found.frame.empty
    assert found.unchecked == ()
