"""Arms of two processes: a signal stops both and both go on; one process that dies takes its arm with it at once."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from tests.jobs.command import records, run, run_folder, text_file
from tests.slurm.cluster import Cluster
from tests.slurm.command import LONG, Launcher, restarts, row, run_folders, trains, until

PROMPT = 60.0  # seconds; nobody waits for torch.distributed's half hour
ARMS = {"stopped": ["seed=1"], "broken": ["seed=2"]}


@dataclass
class Sweep:
    """The sweep after its end."""

    cwd: Path
    launcher: Launcher
    jobs: dict[str, str]
    seconds_to_break: float  # from the death of one process to the end of its arm's job


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the arms and a run of one process share."""
    return [*LONG, f"data.path={text_file(tmp_path_factory.mktemp('text'))}", "phase.schedule.normal.steps=90"]


@pytest.fixture(scope="module")
def sweep(cluster: Cluster, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Both arms while they train: one is signalled, the other loses its second process."""
    cwd = tmp_path_factory.mktemp("ranks")
    launcher = Launcher(cluster, cwd, "ranks", ARMS, *settings, "hydra.launcher.tasks_per_node=2")
    jobs = launcher.jobs()
    blows = {
        "stopped": lambda job: cluster.run("scancel", "--signal=USR2", job),
        "broken": lambda job: os.kill(process_of_rank(job, 1), signal.SIGKILL),
    }
    struck: dict[str, float] = {}
    while blows:
        arm = until(lambda: next((arm for arm in blows if trains(cwd, arm)), ""))
        blows.pop(arm)(jobs[arm])
        struck[arm] = time.time()
    launcher.end()
    return Sweep(cwd, launcher, jobs, ended(cluster, jobs["broken"]) - struck["broken"])


def ended(cluster: Cluster, job: str) -> float:
    """When a job ended, seconds since 1970."""
    (when,) = re.findall(r"EndTime=(\S+)", cluster.run("scontrol", "show", "job", job))
    return datetime.fromisoformat(when).timestamp()


def process_of_rank(job: str, rank: int) -> int:
    """The process that SLURM started as this rank of a job."""
    array, _, element = job.partition("_")
    wanted = {"SLURM_PROCID": str(rank), "SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": element}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if wanted.items() <= process.environ().items() and "submitit.core._submit" in process.cmdline():
                return process.pid
    raise AssertionError(f"no rank {rank} of {job}")


def test_a_signal_stops_both_ranks_and_both_go_on(sweep: Sweep, cluster: Cluster) -> None:
    assert row(sweep.launcher.printed(), "stopped")[2] == "finished"
    assert restarts(cluster, sweep.jobs["stopped"]) == 1
    assert "going on after step" in (run_folders(sweep.cwd)["stopped"] / "train.log").read_text()
    assert len(list(sweep.cwd.glob("outputs/2*/*/config.yaml"))) == len(ARMS)


def test_two_ranks_learn_what_one_process_does(sweep: Sweep, settings: list[str], tmp_path: Path) -> None:
    result = run(tmp_path, *settings, *ARMS["stopped"], timeout=240)
    assert result.returncode == 0, result.stderr
    alone, shared = losses(run_folder(tmp_path)), losses(run_folders(sweep.cwd)["stopped"])
    assert list(shared) == list(alone)
    assert list(shared.values()) == pytest.approx(list(alone.values()), rel=1e-3)


def losses(folder: Path) -> dict[int, float]:
    """Loss by step."""
    return {record["step"]: record["loss/total"] for record in records(folder) if "loss/total" in record}


def test_an_arm_that_loses_a_rank_ends_at_once(sweep: Sweep) -> None:
    assert row(sweep.launcher.printed(), "broken")[2] == "failed"
    assert sweep.seconds_to_break < PROMPT
