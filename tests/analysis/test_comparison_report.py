"""The page of a comparison: an answer that says no more than the verdicts, and links that lead somewhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.__main__ import main
from analysis.compare import Study, compare
from analysis.comparison import Comparison
from analysis.comparison_answer import answer, listed, what_is_open
from analysis.comparison_report import write_comparison_report
from analysis.runs import runs_of_sweep
from analysis.sweep_file import read_sweep
from tests.analysis.html_page import HtmlPage
from tests.analysis.made_runs import EXPERTS, LAYERS, made_run, made_sweep

SEEDS = (1, 2, 3, 4, 5, 6)
EFFECTS = {"base": 0.0, "aux-0.1": -0.02, "aux-1": 0.02, "same": 0.0001, "unclear": 0.003}
NOISE = dict(zip(SEEDS, (0.0004, -0.0004, 0.0002, -0.0002, 0.0001, -0.0001), strict=True))
SECTIONS = ["top", "differences", "cost", "plan", "frontier", "curves", "arms", "runs", "method"]
MARKET = {
    "market/holdout_gain": 0.02,
    "market/holdout_low": -0.01,
    "market/holdout_high": 0.05,
    "final/load/by_expert": np.full((LAYERS, EXPERTS), 1 / EXPERTS).tolist(),
    "final/trans_share/by_layer": [0.2] * LAYERS,
    "progress/train_flops": 1e9,
    "time/training_s": 12.0,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five arms with six seeds each, one arm that fails on every seed, one run of `same` never started."""
    root = tmp_path_factory.mktemp("study")
    for arm in EFFECTS:
        for seed in SEEDS[: 5 if arm == "same" else 6]:
            noise = NOISE[seed] * (10 if arm == "unclear" else 1) if arm != "base" else 0.0
            final = {**MARKET, "final/maxvio_global": 0.1 * seed}
            folder = made_run(root, arm, seed, 1 + 0.01 * seed + EFFECTS[arm] + noise, final=final)
            if arm == "base":
                (folder / "report.html").write_text("page")
    for seed in SEEDS:
        made_run(root, "hot", seed, state="failed")
    made_sweep(root, "study", [(arm, seed) for arm in (*EFFECTS, "hot") for seed in SEEDS], {"n_seeds": 6})
    return root


@pytest.fixture(scope="module")
def found(root: Path) -> Comparison:
    sweep = read_sweep("study", root / "outputs")
    runs = runs_of_sweep(sweep, root / "outputs", 5)
    return compare(Study("study", runs, sweep.folder / "comparison", sweep), sweep.analysis)


@pytest.fixture(scope="module")
def text(found: Comparison) -> str:
    return write_comparison_report(found).read_text(encoding="utf-8")


def test_the_answer_says_what_the_verdicts_say(found: Comparison) -> None:
    said = answer(found)
    assert said.startswith("On final/bpb, against base: aux-0.1 (-0.0200 [")
    assert "is better; aux-1 (+0.0200 [" in said
    assert said.endswith("is worse; same is equivalent within 0.001803 bits/byte (0.005 nats/token).")
    undecided, diverged, plan = what_is_open(found)
    assert undecided.startswith("Undecided: unclear (needs about ")
    assert diverged == "Diverged: hot in 6 of 6 runs."
    assert plan.startswith("The plan was not followed: seeds of every arm")


def changed(found: Comparison, **columns: Any) -> Comparison:
    """With other figures for every arm but the reference."""
    arms = found.arms.copy()
    for name, value in columns.items():
        arms.loc[arms.index != found.reference, name] = value
    return Comparison(**{**found.__dict__, "arms": arms, "plan_followed": found.plan_followed.assign(followed=True)})


def test_nothing_is_claimed_where_nothing_is_shown(found: Comparison) -> None:
    open_still = changed(found, verdict="undecided", seeds_needed=math.nan)
    assert answer(open_still) == "No arm is shown to be better, worse or equivalent to base on final/bpb."
    first, last = what_is_open(open_still)
    assert first.startswith("Undecided: aux-0.1 (needs at least 5 seeds); aux-1 (")
    assert last == "The plan was followed."
    assert what_is_open(changed(found, verdict="not comparable"))[0].startswith("Not comparable: aux-0.1, aux-1,")
    assert what_is_open(changed(found, verdict="no runs"))[0].startswith("Without a finished run: ")


def test_unequal_compute_is_said_beside_the_answer(found: Comparison) -> None:
    said = what_is_open(changed(found, verdict="better", flops_ratio=1.25))[0]
    assert said.startswith("Not at the FLOPs per token of base: aux-0.1 (1.25 times), aux-1 (1.25 times)")
    assert said.endswith("part of a difference may be compute.")
    assert not what_is_open(changed(found, verdict="undecided", flops_ratio=1.25))[0].startswith("Not at the FLOPs")


def test_lists_of_names() -> None:
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


def test_the_page_has_every_section_table_and_plot(text: str) -> None:
    page = HtmlPage(text)
    assert [mark for mark in page.ids() if mark in SECTIONS] == SECTIONS
    assert {link["href"].removeprefix("#") for link in page.all("a") if link["href"].startswith("#")} <= set(page.ids())
    assert len(page.ids()) == len(set(page.ids()))
    assert len(page.all("svg")) == 2 + 4 + 3 + 5
    assert "Does capital follow merit?" in page.text
    assert "not drawn" in page.text.lower()
    for shown in ("equivalent", "within the margin", "RuntimeError: out of luck", "never started", "6 of 6"):
        assert shown in page.text


def test_links_lead_to_the_pages_of_runs_and_to_nothing_outside(text: str, found: Comparison) -> None:
    links = HtmlPage(text).fetched()
    assert len(links) == 6
    assert all((found.folder / link).resolve().is_file() for link in links)
    assert "http" not in "".join(links)


def test_names_of_arms_and_errors_become_no_markup(found: Comparison) -> None:
    evil = "<script>alert(1)</script>"
    renamed = {name: evil if name == "unclear" else name for name in found.arms.index}
    runs = found.runs.assign(arm=found.runs["arm"].map(renamed), reason=evil)
    spoilt = Comparison(
        **{
            **found.__dict__,
            "name": evil,
            "arms": found.arms.rename(index=renamed),
            "runs": runs,
            "pairs": found.pairs.assign(arm=found.pairs["arm"].map(renamed)),
            "notes": (evil,),
            "folder": found.folder.with_name("evil"),
        }
    )
    page = HtmlPage(write_comparison_report(spoilt).read_text(encoding="utf-8"))
    assert len(page.all("script")) == 1
    assert page.text.count(evil) >= 6


def test_a_sweep_of_which_nothing_has_finished_has_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arm in ("base", "other"):
        made_run(tmp_path, arm, 1, state="running")
    made_sweep(tmp_path, "young", [("base", 1), ("other", 1)])
    outputs = tmp_path / "outputs"
    assert main(["compare", "--sweep", "young", "--output-dir", str(outputs), "--no-log"]) == 0, capsys.readouterr().err
    page = HtmlPage((outputs / "sweeps" / "young" / "comparison" / "report.html").read_text(encoding="utf-8"))
    assert page.all("svg") == []
    assert "Without a finished run: other." in page.text


def test_one_seed_is_compared_without_a_claim(tmp_path: Path) -> None:
    for arm, bpb in (("base", 1.0), ("other", 0.9)):
        made_run(tmp_path, arm, 1, bpb)
    made_sweep(tmp_path, "one", [("base", 1), ("other", 1)])
    sweep = read_sweep("one", tmp_path / "outputs")
    runs = runs_of_sweep(sweep, tmp_path / "outputs", 5)
    one = compare(Study("one", runs, tmp_path / "page", sweep), sweep.analysis)
    assert answer(one).startswith("No arm is shown")
    page = HtmlPage(write_comparison_report(one).read_text(encoding="utf-8"))
    assert "needs at least 5 seeds" in page.text


def test_runs_are_read_once_and_only_those_that_count(found: Comparison) -> None:
    from analysis.arm_histories import ArmHistories

    histories = ArmHistories.read(found)
    assert {arm: len(own) for arm, own in histories.of.items()} == {**dict.fromkeys(EFFECTS, 6), "same": 5, "hot": 0}
    curves = histories.losses_over("progress/tokens_seen")
    assert len(curves["base"]) == 6
    assert isinstance(found.runs, pd.DataFrame)
