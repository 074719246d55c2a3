"""Sweeps on the tests' own cluster, through the real command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.jobs.command import ROOT, SMALL, STEPS
from tests.slurm.cluster import Cluster

LONG_PHASE = 250
LONG = [*SMALL, f"phase.schedule.normal.steps={LONG_PHASE}", "train.checkpoint_every=1000", "train.eval_every=1000"]
TOTAL_STEPS = sum(STEPS.values()) - STEPS["normal"] + LONG_PHASE
PATIENCE = 240.0  # seconds until something is taken for broken; a busy machine needs half a minute for imports alone


T = TypeVar("T")


class Launcher:
    """`run.py -m hydra/launcher=slurm ...` in a process of its own, with what it has printed so far."""

    def __init__(
        self, cluster: Cluster, cwd: Path, sweep: str, arms: dict[str, list[str]], *overrides: str, root: Path = ROOT
    ) -> None:
        self.cluster, self.cwd, self.sweep = cluster, cwd, sweep
        (cwd / "studies" / "sweeps").mkdir(parents=True, exist_ok=True)
        study = {"sweep": sweep, "hydra": {"sweeper": {"arms": arms}}}
        (cwd / "studies" / "sweeps" / f"{sweep}.yaml").write_text(f"# @package _global_\n{json.dumps(study)}\n")
        self._output = cwd / f"{sweep}.txt"
        own = ["-m", "--config-dir", "studies", f"+sweeps={sweep}", "hydra/launcher=slurm", "hydra.launcher.poll_s=1"]
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(root / "run.py"), *own, *overrides],
                cwd=cwd,
                env=cluster.environment,
                stdout=output,
                stderr=output,
            )

    def printed(self) -> str:
        """Everything so far."""
        return self._output.read_text()

    def end(self) -> int:
        """Its exit code, once it ends."""
        return self.process.wait(PATIENCE)

    def jobs(self) -> dict[str, str]:
        """SLURM's job of each arm, once all are submitted."""
        until(lambda: "SLURM job " in self.printed() or self.process.poll() is not None)
        return dict(re.findall(r"^(.+), seed \d+: queued, .*job (\d+(?:_\d+)?)$", self.printed(), re.MULTILINE))

    def log(self, job: str) -> str:
        """What a job has printed."""
        path = self.cwd / "outputs" / "sweeps" / self.sweep / "jobs" / f"{job}_0_log.out"
        return path.read_text() if path.exists() else ""


def status(launcher: Launcher) -> str:
    """What job=status prints of a sweep."""
    command = [sys.executable, str(ROOT / "run.py"), "job=status", f"sweep={launcher.sweep}"]
    environment = launcher.cluster.environment
    done = subprocess.run(command, cwd=launcher.cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def row(text: str, arm: str) -> list[str]:
    """Cells of an arm in the newest table of a text, without empty ones; of a cell of several lines the first."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    return [cells for cells in rows if cells[0] == arm][-1]


def restarts(cluster: Cluster, job: str) -> int:
    """How often SLURM has requeued a job."""
    return int(re.findall(r"Restarts=(\d+)", cluster.run("scontrol", "show", "job", job))[0])


def until(ready: Callable[[], T], pause: float = 0.1) -> T:
    """What `ready` returns as soon as that is true; AssertionError when it takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not (value := ready()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(pause)
    return value


def run_folders(cwd: Path) -> dict[str, Path]:
    """Run folder by the arm it belongs to."""
    folders = [path.parent for path in cwd.glob("outputs/2*/*/provenance.json")]
    return {provenance(folder)["arm"]: folder for folder in folders}


def mlflow_runs(cwd: Path) -> dict[str, str]:
    """Id of the run in MLflow by arm, of those that have one by now."""
    marks = {arm: folder / "mlflow.json" for arm, folder in run_folders(cwd).items()}
    return {arm: json.loads(mark.read_text())["run_id"] for arm, mark in marks.items() if mark.exists()}


def provenance(folder: Path) -> dict[str, Any]:
    """Where a run came from."""
    return json.loads((folder / "provenance.json").read_text())


def process_of(folder: Path) -> int:
    """The process that a run belongs to."""
    return int(json.loads((folder / "status.json").read_text())["process"]["pid"])


def state(folder: Path) -> str:
    """What a run says of itself."""
    return json.loads((folder / "status.json").read_text())["state"]


def trains(cwd: Path, arm: str) -> bool:
    """Whether an arm has a record of training."""
    folder = run_folders(cwd).get(arm)
    metrics = folder / "metrics.jsonl" if folder else None
    return metrics is not None and metrics.exists() and "loss/total" in metrics.read_text()
