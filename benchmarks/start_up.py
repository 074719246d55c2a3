"""How long a person waits: for the composed configuration, and for the first training step of the tiny preset."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gate import require
from benchmarks.result import Result, at_most
from benchmarks.sample import Sample
from benchmarks.session import Session
from camoe.tracking.checkout import CODE
from camoe.tracking.metrics_log import read_metrics

ROW = "start_up"
PATIENCE = 120.0  # seconds
TRAIN = ("model=tiny", "tracking=local", "tracking.log_every=1")
SMALL = ("model.n_embd=32", "model.n_layer=1", "model.head_size=16", "tokenizer=byte", "train.ctx_len=16")


def measure(session: Session) -> Iterator[Result]:
    """Both waits, after one start that fills the caches (text, tokenizer, compiled kernel)."""
    session.say("run.py --cfg job")
    shown, seconds = _composed()
    gate = require(float("n_embd" not in shown), 0, "settings missing from the composed configuration")
    values = tuple(_composed()[1] for _ in range(session.times(5))) if not session.quick else (seconds,)
    yield Result(row=ROW, what="run.py --cfg job", value=Sample(values), must=at_most(1.0), gate=gate)
    session.say("first training step of the tiny preset")
    overrides = session.pick(TRAIN, (*TRAIN, *SMALL))
    waits = [_first_step(overrides) for _ in range(1 + session.times(3))][1:]
    loss = waits[0][1]
    yield Result(
        row=ROW,
        what="first training step of the tiny preset after start",
        value=Sample(tuple(wait for wait, _ in waits)),
        must=at_most(10.0),
        gate=require(float(not 0 < loss < 20), 0, f"loss of that step, {loss:.2f}, out of range"),
    )


def _composed() -> tuple[str, float]:
    """What `run.py --cfg job` prints, and its seconds."""
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "run.py", "--cfg", "job"], cwd=CODE, capture_output=True, text=True, check=True
    )
    return done.stdout, time.perf_counter() - begin


def _first_step(overrides: tuple[str, ...]) -> tuple[float, float]:
    """Seconds from the start of the process to the end of its first step, and that step's loss; then it is stopped."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "run.py", *overrides, f"output_dir={place}"]
        begin = time.time()
        process = subprocess.Popen(command, cwd=CODE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            record = _first_record(Path(place), process)
        finally:
            process.terminate()
            process.communicate()
        return record["time/unix"] - begin, record["loss/language_model"]


def _first_record(place: Path, process: subprocess.Popen[str]) -> dict[str, float]:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        for path in place.rglob("metrics.jsonl"):
            if records := read_metrics(path):
                return records[0]
        time.sleep(0.05)
    output = process.communicate()[0] if process.poll() is not None else f"nothing within {PATIENCE:g} s"
    raise RuntimeError(f"run.py made no training step: {output.strip().splitlines()[-1] if output else 'no output'}")
