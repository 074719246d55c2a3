"""Runs of every state become rows; what does not exist is refused with the nearest match."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

import analysis
from camoe.config import ConfigError
from camoe.tracking.run_folder import RunFolder
from tests.analysis.made_runs import BEGAN, made_run, made_sweep, signature_of
from tests.jobs.command import SMALL, run, text_file


def outputs(root: Path) -> Path:
    return root / "outputs"


def test_a_row_holds_identity_budgets_metrics_and_settings(tmp_path: Path) -> None:
    folder = made_run(tmp_path, "a", 3, bpb=1.5, facts={"sweep": "s", "arm": "one"})
    (row,) = analysis.load_runs(output_dir=outputs(tmp_path)).to_dict("records")
    assert row["folder"] == folder
    assert (row["name"], row["sweep"], row["arm"], row["status"]) == ("a", "s", "one", "finished")
    assert (row["seed_init"], row["seed_data"], row["seed_router_noise"]) == (3, 3, 3)
    assert (row["steps"], row["tokens"], row["flops_per_token"]) == (12, 768, 1e6)
    assert (row["signature"], row["stream_hash"], row["data"]) == (signature_of("a", 3), "stream-3", "text")
    assert row["initial_weights.router_gate"] == "router_gate-3"
    assert row["final/bpb"] == 1.5
    assert row["valid/bpb"] == pytest.approx(1.7)
    assert row["config.train.ctx_len"] == 16
    assert row["config.phase.schedule.normal.steps"] == 4


def test_every_state(tmp_path: Path) -> None:
    made_run(tmp_path, "a", 1)
    made_run(tmp_path, "b", 2, state="failed")
    held = made_run(tmp_path, "c", 3, state="running")
    runs = analysis.load_runs(output_dir=outputs(tmp_path)).set_index("name")
    assert list(runs["status"]) == ["finished", "failed", "running"]
    assert runs.loc["b", "reason"] == "RuntimeError: out of luck"
    assert pd.isna(runs.loc["b", "final/bpb"])
    RunFolder(held).unlock()
    assert analysis.load_runs(folders=[held])["status"].item() == "killed"


def test_a_broken_folder_hides_no_other(tmp_path: Path) -> None:
    made_run(tmp_path, "a", 1)
    (made_run(tmp_path, "b", 2) / "provenance.json").write_text("{")
    runs = analysis.load_runs(output_dir=outputs(tmp_path))
    assert list(runs["status"]) == ["finished", "unreadable"]
    assert "provenance.json" in runs["reason"].iloc[1]


def test_arms_of_loose_runs_are_what_their_command_lines_changed(tmp_path: Path) -> None:
    for arm, seed in (("a", 1), ("a", 2), ("bb", 1)):
        made_run(tmp_path, arm, seed)
    runs = analysis.load_runs(folders=[outputs(tmp_path)])
    assert list(runs["arm"]) == ["router.noise_std=0.01", "router.noise_std=0.02", "router.noise_std=0.01"]
    alone = analysis.load_runs(folders=runs["folder"][:1])
    assert list(alone["arm"]) == ["router.noise_std=0.01"]


def test_runs_of_a_sweep_in_its_order_with_those_that_never_started(tmp_path: Path) -> None:
    made_sweep(tmp_path, "s", [("b", 1), ("a", 1), ("a", 2)])
    finished = made_run(tmp_path, "a", 1)
    made_run(tmp_path, "a", 1, state="killed", now=BEGAN + timedelta(days=1))
    made_run(tmp_path, "b", 1, state="failed")
    newest = made_run(tmp_path, "b", 1, state="killed", now=BEGAN + timedelta(days=1))
    runs = analysis.load_runs(sweep="s", output_dir=outputs(tmp_path))
    assert list(runs["arm"]) == ["b", "a", "a"]
    assert list(runs["folder"]) == [newest, finished, None]
    assert list(runs["status"]) == ["killed", "finished", "missing"]
    assert list(runs["seed_init"]) == [1, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"sweep": "smok"}, "sweep: no sweep 'smok'; did you mean smoke"),
        ({"folders": ["nowhere"]}, "nowhere: no such folder"),
        ({"folders": ["."], "sweep": "s"}, "exclude each other"),
    ],
)
def test_refusals(tmp_path: Path, arguments: dict[str, object], problem: str) -> None:
    made_sweep(tmp_path, "smoke", [])
    with pytest.raises(ConfigError) as refusal:
        analysis.load_runs(**arguments, output_dir=outputs(tmp_path))  # type: ignore[arg-type]
    assert problem in str(refusal.value)


def test_a_folder_without_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a run folder"):
        analysis.load_runs(folders=[tmp_path])
    with pytest.raises(ConfigError, match="no sweep 's'"):
        analysis.load_runs(sweep="s", output_dir=tmp_path)
    assert analysis.load_runs(output_dir=tmp_path).empty


PLAN = '{"sweep": "s", "command": "", "created": "", "arms": [], "analysis": %s}'


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "sweep.json: not the plan of a sweep"),
        (PLAN % '{"margn": 1}', "analysis.margn: no such setting; did you mean"),
        (PLAN % '{"alpha": 2}', "analysis.alpha: 2 is not allowed"),
    ],
)
def test_a_broken_sweep_file(tmp_path: Path, content: str, problem: str) -> None:
    (made_sweep(tmp_path, "s", []) / "sweep.json").write_text(content)
    with pytest.raises(ConfigError) as refusal:
        analysis.load_runs(sweep="s", output_dir=outputs(tmp_path))
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_real_run(tmp_path: Path) -> None:
    done = run(tmp_path, *SMALL, f"data.path={text_file(tmp_path)}", "economy=calibrated", "seed=7")
    assert done.returncode == 0, done.stderr
    (row,) = analysis.load_runs(output_dir=outputs(tmp_path)).to_dict("records")
    assert row["status"] == "finished"
    assert row["seed_data"] == 7
    assert row["steps"] == 18
    for name in ("final/bpb", "valid/bpb", "tokens", "flops_per_token", "tokens_per_s", "market/gini"):
        assert row[name] > 0, name
    assert row["config.economy.kind"] == "calibrated"
    assert len(analysis.series(row["folder"], "market/capital_share/by_expert")) > 0
