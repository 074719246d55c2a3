"""Eight training runs as MLflow sees them: forked processes with a Tracker each, which log until a file says stop.

Arguments: output directory, tracking URI. Writes <output directory>/missing.json: what each `finish` returned.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import mlflow.tracking  # once, before the fork  # noqa: F401

from camoe.config.tracking import TrackingConfig
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_status import State
from camoe.tracking.tracker import Tracker

N_RUN = 8
ENDS: tuple[tuple[State, str], ...] = (("finished", ""), ("failed", "RuntimeError: boom"), ("killed", "SIGTERM"))


def log_until_stopped(number: int, output_dir: Path, uri: str) -> int:
    """One run; returns how many records MLflow lacks."""
    config = {"job": {"name": "train"}, "tracking": {"uri": uri, "experiment": "many"}, "number": number}
    folder = RunFolder.create(output_dir, f"run{number}", f"{number:010x}", config=config)
    tracker = Tracker.open(folder, TrackingConfig(uri=uri, experiment="many"))
    tracker.start()
    step = 0
    while not (output_dir / "stop").exists():
        step += 1
        tracker.log(step, {"loss/total": number + 1 / step, "valid/loss": number - 1 / step})
        time.sleep(0.05)
    return tracker.finish(*ENDS[number % len(ENDS)])


def main() -> None:
    """Fork, wait, and write what was missing."""
    output_dir, uri = Path(sys.argv[1]), sys.argv[2]
    children = [os.fork() or os._exit(log_until_stopped(number, output_dir, uri)) for number in range(N_RUN)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    (output_dir / "missing.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    main()
