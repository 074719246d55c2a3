"""Multiruns of tiny runs through the real command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.jobs.command import SMALL, command, run

TINY = [text for text in SMALL if not text.startswith("phase.")]
STEPS = 16


def write_sweep(folder: Path, arms: dict[str, list[str]], seeds: str = "1") -> list[str]:
    """A sweep file named `study`, and the overrides that choose it."""
    (folder / "mine").mkdir(exist_ok=True)
    shared = {"phase": "flat"}
    text = "# @package _global_\n" + json.dumps(
        {
            "defaults": [{f"override /{group}": option} for group, option in shared.items()],
            "sweep": "study",
            "phase": {"schedule": {"train": {"steps": STEPS}}},
            "hydra": {"sweeper": {"params": {"seed": seeds}, "arms": arms}},
        }
    )
    (folder / "mine" / "study.yaml").write_text(text)
    return ["--config-dir", str(folder), "-m", "+mine=study", *TINY]


def begin(cwd: Path, *overrides: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a terminal would run it."""
    return subprocess.Popen(
        command(*overrides),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ctrl_c(process: subprocess.Popen[str]) -> None:
    """What a terminal does."""
    os.killpg(process.pid, signal.SIGINT)


def wait_until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """The first true value of the condition."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def arms_of(cwd: Path) -> dict[tuple[str, int], str]:
    """Signature by arm and seed."""
    plan = json.loads((cwd / "outputs/sweeps/study/sweep.json").read_text())
    return {(arm["arm"], arm["seed"]): arm["signature"] for arm in plan["arms"]}


def folders_of(cwd: Path, arm: str, seed: int = 1) -> list[Path]:
    """Run folders of an arm."""
    return sorted(cwd.glob(f"outputs/2*/*-{arms_of(cwd)[arm, seed]}*"))


def saved(cwd: Path, arm: str, seed: int = 1) -> bool:
    """Whether the arm has a checkpoint to go on from, and is not yet at its end."""
    return any(any((folder / "checkpoints").glob("step_*")) for folder in folders_of(cwd, arm, seed))


def process_of(cwd: Path, arm: str, seed: int = 1) -> int:
    """Process id of the arm's newest job."""
    lines = [json.loads(line) for line in (cwd / "outputs/sweeps/study/jobs.jsonl").read_text().splitlines()]
    started = [line for line in lines if line["event"] == "started"]
    (*_, newest) = [line for line in started if line["signature"] == arms_of(cwd)[arm, seed]]
    return int(newest["process"]["pid"])


def status_lines(cwd: Path) -> dict[str, str]:
    """Rows of job=status by arm and seed."""
    shown = run(cwd, "job=status", "sweep=study")
    assert shown.returncode == 0, shown.stderr
    return rows(shown.stdout)


def rows(printed: str) -> dict[str, str]:
    """Rows of a printed table by arm and seed."""
    table = printed.partition("tokens/s")[2].splitlines()
    return {" ".join(line.split()[:2]): line for line in table if len(line.split()) > 3}
