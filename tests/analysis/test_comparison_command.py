"""python -m analysis compare, as a user types it: what it shows, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.__main__ import main
from tests.analysis.made_runs import made_run, made_sweep

NOISE = (0.0004, -0.0004, 0.0002, -0.0002, 0.0001, -0.0001)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of two arms and five seeds, and one that has only begun."""
    root = tmp_path_factory.mktemp("study")
    made_sweep(root, "smoke", [(arm, seed) for seed in range(1, 6) for arm in ("off", "pilot")], {"reference": "off"})
    made_sweep(root, "begun", [("off", 8), ("pilot", 8), ("off", 9), ("pilot", 9)])
    for seed in range(1, 6):
        made_run(root, "off", seed, 1.0 + seed / 100)
        made_run(root, "pilot", seed, 0.98 + seed / 100 + NOISE[seed])
    made_run(root, "off", 8)
    made_run(root, "pilot", 8, state="failed")
    return root / "outputs"


def shown(capsys: pytest.CaptureFixture[str], outputs: Path, *arguments: str) -> str:
    assert main(["compare", "--output-dir", str(outputs), *arguments]) == 0
    return capsys.readouterr().out


def test_a_sweep_is_shown_and_written(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, outputs, "--sweep", "smoke")
    rows = {line.split()[0]: line for line in reversed(text.splitlines()) if line.strip()}
    assert "Comparison of smoke" in text
    for expected in ("1.0099 ± 0.0159", "-0.0201 [-0.02", "better"):
        assert expected in rows["pilot"]
    assert "margin 0.001803 bits/byte (0.005 nats/token)" in text
    assert "comparison.json" in text
    assert "comparison.csv" in text
    folder = outputs / "sweeps" / "smoke" / "comparison"
    arms = pd.read_csv(folder / "comparison.csv", index_col="arm")
    assert arms.loc["pilot", "verdict"] == "better"
    content = json.loads((folder / "comparison.json").read_text())
    assert content["reference"] == "off"
    assert [row["verdict"] for row in content["arms"]] == ["reference", "better"]
    assert content["arms"][0]["difference"] is None
    assert len(content["pairs"]) == 5
    assert {row["item"]: row["followed"] for row in content["plan_followed"]}["reference"] is True
    assert Path(content["runs"][0]["folder"]).is_dir()


def test_a_sweep_that_has_begun(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, outputs, "--sweep", "begun")
    for expected in (
        "! pilot, seed 8: failed (RuntimeError: out of luck)",
        "! off, seed 9: missing (never started)",
        "! pilot, seed 9: missing (never started)",
        "diverged: 1 of 2 runs",
        "2 missing",
    ):
        assert expected in text


def test_the_command_line_goes_before_the_plan_and_is_a_deviation(
    outputs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ("--reference", "pilot", "--metric", "final/loss", "--margin", "0.2", "--alpha", "0.1")
    text = shown(capsys, outputs, "--sweep", "smoke", "--out", str(tmp_path / "here"), *options)
    assert "final/loss against pilot; margin 0.2 nats/token; 90% intervals" in text
    assert "equivalent within the margin" in text
    content = json.loads((tmp_path / "here" / "comparison.json").read_text())
    followed = {row["item"]: row["followed"] for row in content["plan_followed"]}
    assert [followed[name] for name in ("reference", "primary_metric", "margin", "alpha")] == [False] * 4
    assert followed["margin_unit"] is True


def test_folders_without_a_sweep(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, outputs, str(outputs))
    assert "none was registered before the runs" in text
    assert "router.noise_std=0.03" in text
    assert (outputs / "comparisons").is_dir()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "give one of --sweep NAME, --experiment NAME, or run folders"),
        (("--sweep", "smok"), "no sweep 'smok'; did you mean smoke"),
        (("--sweep", "smoke", "--experiment", "x"), "give one of"),
        (("--sweep", "smoke", "--metric", "final/bpbs"), "did you mean final/bpb"),
        (("--sweep", "smoke", "--reference", "pillot"), "did you mean pilot"),
        (("--sweep", "smoke", "--alpha", "2"), "analysis.alpha: 2.0 is not allowed"),
        (("--sweep", "smoke", "--margin-unit", "metrics"), "did you mean metric"),
        (("--sweep", "smoke", "--metric", "final/maxvio_global"), "nats_per_token says nothing"),
        (("nowhere",), "nowhere: no such folder"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    outputs: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], problem: str
) -> None:
    before = sorted(outputs.rglob("*"))
    assert main(["compare", "--output-dir", str(outputs), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line
    assert sorted(outputs.rglob("*")) == before
