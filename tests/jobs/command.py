"""The real command line in a subprocess, on a run small enough for a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STEPS = {"prewarm": 2, "warm": 2, "criticwarm": 2, "prenormal": 3, "normal": 9}
SMALL = [
    "model.n_embd=32",
    "model.n_layer=2",
    "model.head_size=16",
    "tokenizer=byte",
    "train.ctx_len=32",
    "train.micro_batch=2",
    "train.grad_accum=2",
    "train.eval_every=6",
    "train.eval_sequences=4",
    "train.checkpoint_every=4",
    "tracking=local",
    "tracking.log_every=3",
    "tracking.report=false",
    "job.sample_tokens=8",
    "kernel.threads=1",
    "data=local",
    "data.max_valid_bytes=4000",
    *(f"phase.schedule.{name}.steps={steps}" for name, steps in STEPS.items()),
]
TOTAL_STEPS = sum(STEPS.values())


def text_file(folder: Path) -> Path:
    """Real text: this project's own source, as one file."""
    path = folder / "source.txt"
    path.write_text("\n".join(file.read_text() for file in sorted((ROOT / "camoe").rglob("*.py"))))
    return path


def command(*overrides: str) -> list[str]:
    """The command as a user types it."""
    return [sys.executable, str(ROOT / "run.py"), *overrides]


def run(cwd: Path, *overrides: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(command(*overrides), cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)


def run_folder(cwd: Path) -> Path:
    """The only run folder made below `cwd`."""
    (config,) = cwd.glob("outputs/2*/*/config.yaml")
    return config.parent


def records(folder: Path) -> list[dict[str, Any]]:
    """What metrics.jsonl says, without what may depend on the clock."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{name: v for name, v in json.loads(line).items() if not name.startswith("time/")} for line in lines]
