"""From run folders to verdicts, on arms whose truth is known."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.compare import Study, compare
from analysis.comparison import NOT_RANKED, Comparison
from analysis.comparison_answer import what_is_open
from analysis.runs import runs_of_sweep
from analysis.sweep_file import read_sweep
from analysis.verdict import verdict_in_words
from camoe.config import ConfigError
from tests.analysis.made_runs import made_run, made_sweep, nats

SEEDS = (1, 2, 3, 4, 5, 6)
Sweep = Callable[..., None]
OF_SEED = dict(zip(SEEDS, np.random.default_rng(0).normal(0, 0.05, len(SEEDS)), strict=True))
NOISE = (0.0004, -0.0004, 0.0002, -0.0002, 0.0001, -0.0001)
EFFECTS = {"base": 0.0, "good": -0.02, "bad": 0.02, "same": 0.0001, "unclear": 0.003}
LOUD = {"unclear": 10.0}  # how much more noise an arm has


@pytest.fixture(scope="module")
def every_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five arms by six seeds; margin 0.0018 bits per byte."""
    root = tmp_path_factory.mktemp("study")
    for arm, seed in ((arm, seed) for seed in SEEDS for arm in EFFECTS):
        noise = NOISE[seed - 1] * LOUD.get(arm, 1.0) if arm != "base" else 0.0
        made_run(root, arm, seed, 1.0 + OF_SEED[seed] + EFFECTS[arm] + noise)
    return root


@pytest.fixture
def sweep(every_run: Path, tmp_path: Path) -> Sweep:
    """Makes the sweep in tmp_path, over a copy of those runs."""

    def make(plan: dict[str, Any] | None = None, seeds: tuple[int, ...] = SEEDS) -> None:
        shutil.copytree(every_run, tmp_path, dirs_exist_ok=True)
        arms = [(arm, seed) for seed in seeds for arm in EFFECTS]
        made_sweep(tmp_path, "study", arms, {"n_seeds": len(seeds), **(plan or {})})

    return make


def compared(root: Path, strict: bool = False, **changes: Any) -> Comparison:
    found = read_sweep("study", root / "outputs")
    plan = replace(found.analysis, **changes)
    runs = runs_of_sweep(found, root / "outputs", plan.last_evaluations)
    return compare(Study("study", runs, root / "out", found), plan, strict=strict)


def test_verdicts_of_known_arms(sweep: Sweep, tmp_path: Path) -> None:
    sweep()
    arms = compared(tmp_path).arms
    assert list(arms.index) == ["base", "good", "bad", "same", "unclear"]
    assert list(arms["verdict"]) == ["reference", "better", "worse", "equivalent", "undecided"]
    good = arms.loc["good"]
    assert good["difference"] == pytest.approx(-0.02)
    assert good["low"] < -0.02 < good["high"] < 0
    assert good["interval"] == "bootstrap"
    assert good["p_holm"] == pytest.approx(4 * good["p"]) or good["p_holm"] == pytest.approx(3 * good["p"])
    assert arms.loc["unclear", "seeds_needed"] > 6
    assert (arms["n"] == 6).all()
    assert math.isnan(arms.loc["base", "difference"])


def test_figures_by_hand(sweep: Sweep, tmp_path: Path) -> None:
    sweep()
    found = compared(tmp_path)
    bpb = np.array([1.0 + OF_SEED[seed] - 0.02 + noise for seed, noise in zip(SEEDS, NOISE, strict=True)])
    good = found.arms.loc["good"]
    assert (good["bpb"], good["bpb_sd"]) == (pytest.approx(bpb.mean()), pytest.approx(bpb.std(ddof=1)))
    assert good["loss"] == pytest.approx(np.mean([nats(value) for value in bpb]))
    assert good["p"] == pytest.approx(stats.ttest_1samp(np.array(NOISE) - 0.02, 0).pvalue)
    chance = pytest.approx(0.05)
    assert (good["maxvio_global"], good["maxvio_batch"], good["maxvio_batch_chance"]) == (0.25, 0.5, chance)
    assert (good["maxvio_global_chance"], good["bpb_error"]) == (pytest.approx(0.02), pytest.approx(0.01))
    assert (good["dead_experts"], good["flops_per_token"], good["flops_ratio"]) == (1.0, 1e6, 1.0)
    own = found.pairs[found.pairs["arm"] == "good"]
    assert list(own["difference"]) == pytest.approx([noise - 0.02 for noise in NOISE])


def test_higher_is_better_where_it_is(tmp_path: Path) -> None:
    made_sweep(tmp_path, "study", [(arm, seed) for seed in SEEDS for arm in "ab"])
    for seed in SEEDS:
        made_run(tmp_path, "a", seed, final={"final/load_entropy": 0.5 + NOISE[seed - 1]})
        made_run(tmp_path, "b", seed, final={"final/load_entropy": 0.8})
    found = compared(tmp_path, primary_metric="final/load_entropy", margin=0.01, margin_unit="metric")
    assert found.better == "higher"
    assert found.arms.loc["b", "verdict"] == "better"


@pytest.mark.parametrize("seeds", [(1,), (1, 2), (1, 2, 3, 4)])
def test_below_five_seeds_differences_and_no_p(sweep: Sweep, tmp_path: Path, seeds: tuple[int, ...]) -> None:
    sweep(seeds=seeds)
    found = compared(tmp_path)
    assert found.arms["p"].isna().all()
    assert found.arms["p_equivalence"].isna().all()
    assert set(found.arms["verdict"][1:]) == {"undecided"}
    assert len(found.pairs) == 4 * len(seeds)
    assert found.arms.loc["good", "interval"] == ("t" if len(seeds) > 1 else "")
    assert any("fewer than 5" in note for note in found.notes)


def test_intervals_know_the_documents_where_they_are(sweep: Sweep, tmp_path: Path) -> None:
    sweep()
    without = compared(tmp_path).arms
    random = np.random.default_rng(0)
    hard = random.normal(0, 20.0, size=40)  # one arm's trouble with single documents, in every seed
    for run in read_sweep("study", tmp_path / "outputs").planned.arms:
        (folder,) = (tmp_path / "outputs").glob(f"2*/*-{run.signature}")
        size = np.full(40, 100)
        scores = 70.0 * (1 + OF_SEED[run.seed] + EFFECTS[run.arm]) + (hard - hard.mean()) * (run.arm == "good")  # type: ignore[index]
        columns = {"document": range(40), "tokens": size // 4, "bytes": size, "nats": scores}
        pd.DataFrame(columns).to_parquet(folder / "documents.parquet")
    found = compared(tmp_path).arms
    assert found.loc["good", "interval"] == "bootstrap, documents"
    assert found.loc["good", "low"] < 0 < found.loc["good", "high"]
    assert found.loc["good", "p_holm"] < 0.01
    assert (found.loc["good", "verdict"], found.loc["good", "short_of_text"]) == ("undecided", True)
    assert verdict_in_words(found.loc["good"].to_dict(), "") == "undecided (needs more held-out text)"
    assert list(found["verdict"])[2:4] == ["worse", "equivalent"]
    assert found.loc["good", "high"] - found.loc["good", "low"] > 5 * (
        without.loc["good", "high"] - without.loc["good", "low"]
    )


def test_one_arm_that_cannot_be_paired_hides_no_other(tmp_path: Path) -> None:
    made_sweep(tmp_path, "study", [(arm, seed) for seed in SEEDS for arm in ("base", "other", "good")])
    for seed in SEEDS:
        made_run(tmp_path, "base", seed, 1.0)
        made_run(tmp_path, "other", seed, 1.0, final={"progress/stream_hash": "another"})
        made_run(tmp_path, "good", seed, 0.9 + NOISE[seed - 1])
    found = compared(tmp_path)
    assert list(found.arms["verdict"]) == ["reference", "not comparable", "better"]
    assert "training sequences" in found.arms.loc["other", "why"]
    assert found.arms.loc["other", "bpb"] == 1.0
    assert math.isnan(found.arms.loc["other", "difference"])
    assert found.notes[0] == found.arms.loc["other", "why"]
    with pytest.raises(ConfigError, match="training sequences"):
        compared(tmp_path, strict=True)


def test_nothing_comparable_is_refused(tmp_path: Path) -> None:
    made_sweep(tmp_path, "study", [("a", 1), ("b", 1)])
    made_run(tmp_path, "a", 1)
    made_run(tmp_path, "b", 1, final={"progress/tokens_seen": 1})
    with pytest.raises(ConfigError, match="b and a, seed 1: cannot be paired"):
        compared(tmp_path)


def test_unequal_flops_are_said_first_and_refused_when_strict(tmp_path: Path) -> None:
    made_sweep(tmp_path, "study", [("a", 1), ("b", 1)])
    made_run(tmp_path, "a", 1)
    made_run(tmp_path, "b", 1, final={"final/flops_per_token": 1.25e6})
    found = compared(tmp_path)
    assert found.notes[0].startswith("UNEQUAL FLOPs: times the FLOPs per token of a: b 1.250;")
    with pytest.raises(ConfigError, match="UNEQUAL FLOPs"):
        compared(tmp_path, strict=True)
    assert not any(note.startswith("UNEQUAL") for note in compared(tmp_path, flops_tolerance=0.3).notes)


def test_a_diverged_run_decides_over_its_arm(sweep: Sweep, tmp_path: Path) -> None:
    sweep()
    file = tmp_path / "outputs" / "sweeps" / "study" / "sweep.json"
    content = json.loads(file.read_text())
    content["arms"] += [{"arm": "good", "seed": 7, "overrides": [], "signature": "0" * 10}]
    content["arms"] += [{"arm": "good", "seed": 8, "overrides": [], "signature": "f" * 10}]
    file.write_text(json.dumps(content))
    folder = made_run(tmp_path, "good", 7, math.nan)
    folder.rename(folder.with_name(folder.name[: -len("0" * 10)] + "0" * 10))
    good = compared(tmp_path).arms.loc["good"]
    assert (good["verdict"], good["n"], good["diverged"], good["missing"], good["planned"]) == ("diverged", 6, 1, 1, 8)
    assert good["diverged_low"] < 1 / 7 < good["diverged_high"]
    assert good["difference"] == pytest.approx(-0.02)
    assert "good, seed 8: missing (never started)" in compared(tmp_path).notes


def test_was_the_plan_followed(sweep: Sweep, tmp_path: Path) -> None:
    sweep(plan={"n_seeds": 5})
    followed = compared(tmp_path).plan_followed.set_index("item")
    assert followed["followed"].all()
    assert followed.loc["registered before the runs", "found"] == "yes"
    assert followed.loc["reference", "planned"] == "base"  # the first arm
    changed = compared(tmp_path, margin=0.02, reference="good").plan_followed.set_index("item")
    assert list(changed.index[~changed["followed"]]) == ["margin", "reference"]
    assert (changed.loc["margin", "planned"], changed.loc["margin", "found"]) == ("0.005", "0.02")


def test_a_plan_changed_after_the_runs_is_seen(sweep: Sweep, tmp_path: Path) -> None:
    sweep(plan={"n_seeds": 5, "reference": "base", "margin": 0.01})
    followed = compared(tmp_path, reference="good").plan_followed.set_index("item")
    assert (followed.loc["reference", "planned"], followed.loc["reference", "found"]) == ("base", "good")
    assert list(followed.index[~followed["followed"]]) == ["reference", "registered before the runs"]


def test_fewer_seeds_and_a_changed_command_line_are_deviations(sweep: Sweep, tmp_path: Path) -> None:
    sweep(plan={"n_seeds": 9})
    file = tmp_path / "outputs" / "sweeps" / "study" / "sweep.json"
    content = json.loads(file.read_text())
    content["command"] = "run.py -m +sweeps=study hydra/launcher=slurm train.ctx_len=64 output_dir=elsewhere"
    file.write_text(json.dumps(content))
    followed = compared(tmp_path).plan_followed.set_index("item")
    assert followed.loc["seeds of every arm", "found"].startswith("base: 6, good: 6")
    assert followed.loc["command line beside the sweep file", "found"] == "train.ctx_len=64"
    assert followed.loc["registered before the runs", "found"] == "30 of 30 runs began under another plan"
    names = ["seeds of every arm", "command line beside the sweep file", "registered before the runs"]
    assert not followed.loc[names, "followed"].any()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"reference": "goood"}, "analysis.reference: no arm 'goood'; did you mean good"),
        ({"primary_metric": "final/los"}, "did you mean final/loss"),
    ],
)
def test_refusals(sweep: Sweep, tmp_path: Path, changes: dict[str, str], problem: str) -> None:
    sweep(seeds=(1,))
    with pytest.raises(ConfigError, match=problem):
        compared(tmp_path, **changes)


def test_one_arm_is_no_comparison(tmp_path: Path) -> None:
    made_sweep(tmp_path, "study", [("a", 1), ("a", 2)])
    with pytest.raises(ConfigError, match="all of one arm"):
        compared(tmp_path)


def test_a_sweep_that_has_only_begun(tmp_path: Path) -> None:
    made_sweep(tmp_path, "study", [("a", 1), ("b", 1)])
    made_run(tmp_path, "a", 1, state="killed")
    found = compared(tmp_path)
    assert list(found.arms["verdict"]) == ["reference", "no runs"]
    assert found.pairs.empty
    assert math.isnan(found.margin)
    assert found.arms["n"].sum() == 0


def test_what_reads_ahead_is_listed_apart_and_never_ranked(tmp_path: Path) -> None:
    made_sweep(tmp_path, "study", [(arm, seed) for seed in SEEDS for arm in ("base", "bound", "good")])
    for seed in SEEDS:
        made_run(tmp_path, "base", seed, 1.0 + OF_SEED[seed])
        made_run(tmp_path, "bound", seed, 0.5 + OF_SEED[seed], router="expert_choice")
        made_run(tmp_path, "good", seed, 0.98 + OF_SEED[seed] + NOISE[seed - 1])
    found = compared(tmp_path)
    assert list(found.arms["verdict"]) == ["reference", NOT_RANKED, "better"]
    assert set(found.pairs["arm"]) == {"good"}
    assert any("expert_choice reads ahead" in note for note in found.notes)
    assert any(line.startswith("Non-causal, so upper bounds") for line in what_is_open(found))
    with pytest.raises(ConfigError, match=r"analysis\.reference: bound"):
        compared(tmp_path, reference="bound")
