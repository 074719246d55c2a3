"""A long run under random faults: what it loses (must be nothing), and how memory and file descriptors grow.

kill -9, signals, a disk that fills up, an MLflow server that goes away, and pauses, at moments drawn from a seed. A
process that ended is resumed; at the end metrics.jsonl must have every record once, and MLflow the same ones.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.mlflow_server import LoopbackServer
from benchmarks.small_disk import mounted
from benchmarks.soak_faults import FAULTS, Scene, expect, possible
from benchmarks.soak_records import wrong_steps
from benchmarks.soaked_run import SoakedRun
from camoe.tracking.checkout import CODE
from camoe.tracking.metrics_log import read_metrics

FAULTS_AN_HOUR = 40
DISK = "192m"


def main(arguments: list[str]) -> int:
    """Prints what came of it as JSON; 1 when a record was lost."""
    options = _parser().parse_args(arguments)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        disk = stack.enter_context(mounted(place / "disk", DISK))
        server = LoopbackServer(place)
        stack.callback(server.kill)
        server.up()
        run = SoakedRun(place, place / "disk" / "outputs", server.uri)
        run.begin()
        stack.callback(run.stop)
        report = soak(Scene(run, server, disk), 60 * options.minutes, options.seed)
    print(json.dumps({"minutes": options.minutes, "seed": options.seed, **report}, indent=2))
    return int(any(report["wrong_steps"].values()))


def soak(scene: Scene, seconds: float, seed: int) -> dict[str, Any]:
    """All of it, and the report."""
    draw, happened = random.Random(seed), Counter[str]()
    pause, end = 3600 / FAULTS_AN_HOUR, time.monotonic() + seconds
    while True:
        time.sleep(min(draw.uniform(0.2, 1.8) * pause, max(0.0, end - time.monotonic())))
        if time.monotonic() >= end:
            break
        name = draw.choice(possible(scene))
        FAULTS[name](scene)
        happened[name] += 1
        print(f"{end - time.monotonic():.0f} s left, after: {name}", file=sys.stderr, flush=True)
    scene.run.send(signal.SIGTERM)
    expect(scene, 128 + signal.SIGTERM)
    synchronise = [sys.executable, str(CODE / "run.py"), "job=sync_tracking", f"job.run={scene.run.folder}"]
    subprocess.run(synchronise, cwd=scene.run.cwd, check=True, stdout=subprocess.DEVNULL)
    return {"faults": dict(happened), **_found(scene.run)}


def _found(run: SoakedRun) -> dict[str, Any]:
    grown = [growth for life in run.lives if (growth := life.growth()) is not None]
    samples = [sample for life in run.lives for sample in life.samples]
    records = read_metrics(run.folder / "metrics.jsonl")
    return {
        "processes": len(run.lives),
        "records": len(records),
        "steps": records[-1]["step"],
        "wrong_steps": wrong_steps(run.folder, run.uri),
        "memory_mb": {
            "most": max(sample.rss for sample in samples) / 1e6,
            "growth_of_a_process_median": median(growth.rss for growth in grown) / 1e6 if grown else None,
            "growth_of_a_process_most": max(growth.rss for growth in grown) / 1e6 if grown else None,
        },
        "file_descriptors": {
            "most": max(sample.descriptors for sample in samples),
            "growth_of_a_process_most": max(growth.descriptors for growth in grown) if grown else None,
        },
        "seconds_watched": [len(life.samples) for life in run.lives],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="draws the faults and their moments (default 0)")
    return parser
