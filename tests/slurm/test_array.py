"""A job array in which every arm gets a blow of its own while it trains, and what becomes of each."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.jobs.command import records, run, run_folder, text_file
from tests.slurm.cluster import Cluster
from tests.slurm.command import (
    LONG,
    TOTAL_STEPS,
    Launcher,
    mlflow_runs,
    process_of,
    restarts,
    row,
    run_folders,
    state,
    status,
    trains,
    until,
)

ARMS = {
    "signalled": ["seed=1"],
    "preempted": ["seed=2"],
    "raising": ["train.base_lr=1e30"],
    "killed": ["seed=4"],
    "cancelled": ["seed=5"],
}


@dataclass
class Sweep:
    """The sweep after its end."""

    cwd: Path
    launcher: Launcher
    exit_code: int
    jobs: dict[str, str]
    mlflow_ids: dict[str, str]  # of each arm's run, before its blow


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the arms and an undisturbed run share."""
    return [*LONG, f"data.path={text_file(tmp_path_factory.mktemp('text'))}"]


@pytest.fixture(scope="module")
def sweep(cluster: Cluster, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Each arm gets its blow as soon as it trains; the launcher waits for what becomes of them."""
    cwd = tmp_path_factory.mktemp("sweep")
    tracked = [text for text in settings if text != "tracking=local"]
    own = ["hydra.launcher.partition=low", "hydra.launcher.timeout_min=60", f"tracking.uri=sqlite:///{cwd}/mlflow.db"]
    launcher = Launcher(cluster, cwd, "blows", ARMS, *tracked, *own)
    jobs, ids = launcher.jobs(), {}
    blows = {
        "killed": lambda _: os.kill(process_of(run_folders(cwd)["killed"]), signal.SIGKILL),
        "signalled": lambda job: cluster.run("scancel", "--signal=USR2", job),
        "preempted": lambda job: preempt(cluster, job),
        "cancelled": lambda job: cluster.run("scancel", job),
    }
    while blows:
        arm = until(lambda: next((arm for arm in blows if is_ready(cluster, cwd, arm, jobs[arm])), None))
        ids[arm] = mlflow_runs(cwd)[arm]
        blows.pop(arm)(jobs[arm])
    return Sweep(cwd, launcher, launcher.end(), jobs, ids)


def is_ready(cluster: Cluster, cwd: Path, arm: str, job: str) -> bool:
    """Whether an arm trains, MLflow follows it, and no blow meant for another one has just hit it."""
    return trains(cwd, arm) and arm in mlflow_runs(cwd) and cluster.queue_state(job) == "RUNNING"


def preempt(cluster: Cluster, job: str) -> None:
    """A job of a higher partition takes the job's whole node for a moment."""
    node = cluster.run("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
    cluster.run("sbatch", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")


def test_the_final_table_says_what_became_of_every_arm(sweep: Sweep) -> None:
    table = sweep.launcher.printed()
    assert sweep.exit_code == 1
    assert row(table, "signalled")[2] == row(table, "preempted")[2] == "finished"
    assert row(table, "raising")[2] == "failed"
    assert row(table, "raising")[-1].startswith("TooManySkippedSteps: ")
    assert row(table, "killed")[2] == row(table, "cancelled")[2] == "killed"
    assert row(table, "killed")[-1].startswith("no result, SLURM says FAILED")
    assert row(table, "cancelled")[-1].startswith("no result, SLURM says CANCELLED")
    assert [row(status(sweep.launcher), arm)[:3] for arm in ARMS] == [row(table, arm)[:3] for arm in ARMS]


def test_the_log_of_the_raising_arm_has_its_traceback(sweep: Sweep) -> None:
    log = sweep.launcher.log(sweep.jobs["raising"])
    assert "Traceback (most recent call last)" in log
    assert "TooManySkippedSteps: " in log


@pytest.mark.parametrize("arm", ["signalled", "preempted"])
def test_an_interrupted_arm_went_on_in_its_folder_and_its_mlflow_run(sweep: Sweep, cluster: Cluster, arm: str) -> None:
    assert restarts(cluster, sweep.jobs[arm]) >= 1
    assert len(list(sweep.cwd.glob("outputs/2*/*/config.yaml"))) == len(ARMS)
    folder = run_folders(sweep.cwd)[arm]
    assert state(folder) == "finished"
    assert "going on after step" in (folder / "train.log").read_text()
    steps = [record["step"] for record in records(folder) if "loss/total" in record]
    assert steps == sorted(set(steps))
    assert steps[-1] == TOTAL_STEPS
    assert mlflow_runs(sweep.cwd)[arm] == sweep.mlflow_ids[arm]


def test_a_signalled_arm_has_the_records_of_an_undisturbed_run(
    sweep: Sweep, settings: list[str], tmp_path: Path
) -> None:
    result = run(tmp_path, *settings, *ARMS["signalled"], timeout=240)
    assert result.returncode == 0, result.stderr
    assert records(run_folders(sweep.cwd)["signalled"]) == records(run_folder(tmp_path))


def test_mlflow_has_one_run_for_each_arm_with_its_true_status(sweep: Sweep) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{sweep.cwd}/mlflow.db")
    ends = {arm: client.get_run(number).info.status for arm, number in mlflow_runs(sweep.cwd).items()}
    assert ends.pop("killed") != "FINISHED"  # repaired by whichever run opens the store next
    assert ends == {"signalled": "FINISHED", "preempted": "FINISHED", "raising": "FAILED", "cancelled": "KILLED"}
