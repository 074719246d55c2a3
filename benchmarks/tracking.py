"""Share of a training step that tracking takes: the record, metrics.jsonl, the console, and MLflow's own thread.

One record is written per step, though runs write one every `tracking.log_every` steps, and each is waited for until
MLflow has it, so that none shares the cost of another. CPU time of all threads counts.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.gate import require
from benchmarks.result import Result, at_most
from benchmarks.sample import Sample
from benchmarks.session import Session
from benchmarks.settlement import (
    PILOT,
    PILOT_MICRO_BATCHES,
    micro_batch_seconds,
    observation,
    random_losses,
    settlement,
)
from benchmarks.whole_step import TINY
from benchmarks.workload import StepShape, build_model
from camoe.config.tracking import TrackingConfig
from camoe.model.language_model import LanguageModel
from camoe.tracking.console import ProgressDisplay
from camoe.tracking.market_statistics import market_statistics_of
from camoe.tracking.metrics_log import read_metrics
from camoe.tracking.routing_statistics import routing_statistics_of
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.tracker import Tracker
from camoe.tracking.upload_mark import UploadMark
from camoe.training.window_means import WindowMeans

ROW = "tracking"
PATIENCE = 60.0  # seconds for MLflow to open its store or to take a record


def measure(session: Session) -> Iterator[Result]:
    """CPU time of one record over the time of a step of the pilot."""
    shape, count = session.pick((PILOT, PILOT_MICRO_BATCHES), (TINY, 2))
    model = build_model(shape.config())
    session.say("tracking: records")
    records, gate = record_seconds(model, shape, session.times(5), mlflow=not session.quick)
    session.say(f"micro-batch of the pilot, {shape}")
    step = micro_batch_seconds(shape, session).scaled(count)
    yield Result(
        row=ROW,
        what=f"tracking every step, share of a step of {count} micro-batches, {shape}",
        value=Sample(tuple(value / step.median for value in records.values), "share"),
        must=at_most(0.01) if not session.quick else None,
        figures={"one record": records, "step": step},
        gate=gate,
    )


def record_seconds(model: LanguageModel, shape: StepShape, count: int, *, mlflow: bool) -> tuple[Sample, str]:
    """CPU seconds of `count` records, every thread's, and the check that all of them arrived."""
    with tempfile.TemporaryDirectory() as place:
        config = TrackingConfig(mlflow=mlflow, uri=f"sqlite:///{place}/mlflow.db", log_every=1)
        folder = RunFolder.create(Path(place) / "outputs", "bench", "0", config=asdict(model.config))
        tracker = Tracker.open(folder, config)
        tracker.start()
        with ProgressDisplay(count, 1, folder.log_file, Console(file=io.StringIO())) as display:
            run = _Recording(model, shape, tracker, display)
            run.record(0)
            _wait_for_mlflow(tracker, folder, 0)
            seconds = []
            for step in range(1, count + 1):
                before = time.process_time()
                run.record(step)
                _wait_for_mlflow(tracker, folder, step)
                seconds.append(time.process_time() - before)
        missing = tracker.finish("finished")
        kept = len(read_metrics(folder.metrics_file))
        gate = require(count + 1 - kept + missing, 0, "records lost")
        return Sample(tuple(seconds)), gate


class _Recording:
    """What the trainer does with one step's numbers."""

    def __init__(self, model: LanguageModel, shape: StepShape, tracker: Tracker, display: ProgressDisplay) -> None:
        self.tracker, self.display = tracker, display
        self.routing, self.market = routing_statistics_of(model), market_statistics_of(model.config.economy)
        elections = [random_losses(model.config, shape, 0)]
        self.means = WindowMeans()
        self.values = {"loss/language_model": torch.tensor(5.0), "loss/total": torch.tensor(5.0)}
        observation(self.routing, elections)()
        settlement(model, self.market, elections)()
        display.start(0)

    def record(self, step: int) -> None:
        """One record, from the sums of a window to the line on the screen."""
        self.means.add(self.values)
        numbers = {
            **self.means.means(),
            **self.routing.metrics(),
            **self.routing.series(),
            **self.market.metrics(),
            **self.market.series(),
        }
        self.tracker.log(step, numbers)
        self.display.update(step, loss=5.0, tokens_per_s=1.0, phase="normal")


def _wait_for_mlflow(tracker: Tracker, folder: RunFolder, step: int) -> None:
    """Until MLflow has the record of this step; asleep, which costs no CPU time."""
    until = time.monotonic() + PATIENCE
    while tracker.sink is not None and time.monotonic() < until:
        mark = UploadMark.load(folder.mlflow_file)
        if mark is not None and mark.covers(step, 1):
            return
        time.sleep(0.1)
