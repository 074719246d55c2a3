"""Score all of a run's held-out text again from its newest checkpoint."""

from __future__ import annotations

import json

from camoe.config import RunConfig
from camoe.config.command_record import CommandRecord
from camoe.data.evaluation_windows import evaluation_windows
from camoe.inference.evaluation import evaluate
from camoe.jobs.trained_run import open_trained_run
from camoe.tracking.routing_statistics import routing_statistics_of


def run(config: RunConfig, command: CommandRecord) -> None:
    """Print bits per byte and write evaluation.json into the run folder."""
    trained = open_trained_run(config, command)
    windows = evaluation_windows(trained.corpus, trained.config.train.ctx_len)
    statistics = routing_statistics_of(trained.model)
    result = evaluate(trained.model, windows, trained.config.train.micro_batch, statistics)
    record = {"step": trained.step, **result.record("final")}
    (trained.folder.path / "evaluation.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(
        f"{result.bits_per_byte:.4f} bits per byte over {result.text_bytes:,} bytes of held-out text, "
        f"computed in {trained.model.precision}, after step {trained.step} of {trained.folder.path}"
    )
