"""Eight training runs as MLflow sees them: forked processes with a Tracker each, which log until a file says stop.

Arguments: output directory, tracking URI.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import mlflow.tracking  # once, before the fork  # noqa: F401

from camoe.config.tracking import TrackingConfig
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_status import State
from camoe.tracking.tracker import Tracker

N_RUN, LONGEST = 8, 300  # seconds, should nobody say stop
ENDS: tuple[tuple[State, str], ...] = (("finished", ""), ("failed", "RuntimeError: boom"), ("killed", "SIGTERM"))


def log_until_stopped(number: int, output_dir: Path, uri: str) -> None:
    """One run, in a process of its own."""
    config = {"job": {"name": "train"}, "tracking": {"uri": uri, "experiment": "many"}}
    folder = RunFolder.create(output_dir, f"run{number}", f"{number:010x}", config=config)
    tracker = Tracker.open(folder, TrackingConfig(uri=uri, experiment="many"))
    tracker.start()
    step, deadline = 0, time.monotonic() + LONGEST
    while not (output_dir / "stop").exists() and time.monotonic() < deadline:
        step += 1
        tracker.log(step, {"loss/total": number + 1 / step, "valid/loss": number - 1 / step})
        time.sleep(0.05)
    tracker.finish(*ENDS[number % len(ENDS)])


def main() -> int:
    """Fork and wait; the number of processes that failed."""
    output_dir, uri = Path(sys.argv[1]), sys.argv[2]
    children = []
    for number in range(N_RUN):
        if not (child := os.fork()):
            log_until_stopped(number, output_dir, uri)
            os._exit(0)
        children.append(child)
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


if __name__ == "__main__":
    sys.exit(main())
