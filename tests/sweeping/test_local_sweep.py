"""Whole sweeps on this machine: a failing arm, a killed arm, Ctrl-C, and the same command again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.jobs.command import records, run
from tests.sweeping.sweep_command import (
    begin,
    ctrl_c,
    folders_of,
    process_of,
    rows,
    saved,
    status_lines,
    wait_until,
    write_sweep,
)

ARMS = {"gate": ["economy=off"], "market": ["economy=v21"], "two": ["economy=off", "router.top_k=1"]}
FAILING = {
    "lost": ["train.base_lr=0.5", "tracking.mlflow=true", "tracking.uri=sqlite:////nowhere/x.db"],
    "wild": ["train.base_lr=1e30", "train.max_skipped_steps=0"],
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    """A sweep with one arm that fails before its run begins, and one that fails on the way."""
    cwd = tmp_path_factory.mktemp("undisturbed")
    overrides = [*write_sweep(cwd, {**ARMS, **FAILING}), f"data.path={text}", "hydra.launcher.n_jobs=2"]
    result = run(cwd, *overrides, timeout=300)
    assert result.returncode == 1, result.stderr
    (cwd / "stdout.txt").write_text(result.stdout)
    return cwd


def test_failing_arms_stop_nobody_and_are_shown_with_their_error(undisturbed: Path) -> None:
    printed = (undisturbed / "stdout.txt").read_text()
    table = rows(printed)
    for arm in ARMS:
        (folder,) = folders_of(undisturbed, arm)
        assert "finished" in table[f"{arm} 1"]
        assert f"{records(folder)[-1]['final/bpb']:.4f}" in table[f"{arm} 1"]
        assert str(folder.relative_to(undisturbed)) in table[f"{arm} 1"]
        assert f"{arm}, seed 1: finished, final/bpb" in printed
    assert "failed" in table["lost 1"]
    assert "ConfigError" in table["lost 1"]
    assert not folders_of(undisturbed, "lost")
    assert "failed" in table["wild 1"]
    assert "TooManySkippedSteps" in table["wild 1"]
    assert rows(printed) == status_lines(undisturbed)


def test_what_a_job_printed_is_kept(undisturbed: Path) -> None:
    (folder,) = folders_of(undisturbed, "gate")
    (log,) = (undisturbed / "outputs/sweeps/study/jobs").glob(f"{folder.name[-10:]}-1_0_log.out")
    assert f"run folder {folder.resolve()}" in log.read_text()


def test_the_same_command_again_runs_what_is_missing(undisturbed: Path, text: Path) -> None:
    folders = {arm: folders_of(undisturbed, arm) for arm in ARMS}
    result = run(undisturbed, "--config-dir", str(undisturbed), "-m", "+mine=study", *_tiny(text), timeout=300)
    assert result.returncode == 1
    assert result.stdout.count("finished already") == 3
    assert "wild, seed 1: failed before" in result.stdout
    assert "lost, seed 1: started, 1 of 1" in result.stdout
    assert {arm: folders_of(undisturbed, arm) for arm in ARMS} == folders


def test_killed_then_stopped_then_issued_again(undisturbed: Path, text: Path, tmp_path: Path) -> None:
    overrides = [*write_sweep(tmp_path, ARMS), f"data.path={text}"]
    sweep = begin(tmp_path, *overrides, "hydra.launcher.n_jobs=2")
    wait_until(lambda: (tmp_path / "outputs/sweeps/study/jobs.jsonl").exists() and saved(tmp_path, "gate"))
    os.kill(process_of(tmp_path, "gate"), signal.SIGKILL)
    wait_until(lambda: saved(tmp_path, "two"))
    os.kill(process_of(tmp_path, "two"), signal.SIGSTOP)
    table = status_lines(tmp_path)
    os.kill(process_of(tmp_path, "two"), signal.SIGCONT)
    ctrl_c(sweep)
    printed, _ = sweep.communicate(timeout=120)
    assert "SIGKILL" in table["gate 1"]
    assert "running" in table["two 1"]
    assert "/16" in table["two 1"]
    assert sweep.returncode == 128 + signal.SIGINT, printed
    assert "save themselves and end" in printed
    assert "SIGINT" in rows(printed)["two 1"]
    result = run(tmp_path, *overrides, "hydra.launcher.n_jobs=3", timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "gate, seed 1: going on with" in result.stdout
    for arm in ARMS:
        (folder,) = folders_of(tmp_path, arm)
        (reference,) = folders_of(undisturbed, arm)
        assert records(folder) == records(reference)


def _tiny(text: Path) -> list[str]:
    from tests.sweeping.sweep_command import TINY

    return [*TINY, f"data.path={text}"]
