"""Score all of a run's held-out text again from its newest checkpoint."""

from __future__ import annotations

from camoe.config import RunConfig
from camoe.config.command_record import CommandRecord, setting_name
from camoe.config.evaluation import EvaluationConfig
from camoe.data.evaluation_windows import evaluation_windows
from camoe.inference.document_scores import DocumentScores
from camoe.inference.evaluation import evaluate
from camoe.jobs.trained_run import open_trained_run
from camoe.tracking.atomic_file import write_json
from camoe.tracking.routing_statistics import routing_statistics_of


def run(config: RunConfig, command: CommandRecord) -> None:
    """Print bits per byte and write evaluation.json into the run folder."""
    trained = open_trained_run(config, command)
    own, train = scoring(config, command, trained.config), trained.config.train
    windows = evaluation_windows(trained.corpus, train.ctx_len, own)
    statistics = routing_statistics_of(trained.model)
    result = evaluate(trained.model, windows, train.micro_batch, statistics)
    room = {"raw": "final", "averaged": "final_averaged"}[config.job.weights]
    record = {
        "step": trained.step,
        "evaluation": vars(own),
        **result.record(room),
        f"{room}/bpb_error": DocumentScores.of(result).bpb_error(),
    }
    write_json(trained.folder.path / "evaluation.json", record)
    print(
        f"{result.bits_per_byte:.4f} bits per byte over {result.text_bytes:,} bytes of held-out text, "
        f"{config.job.weights} weights, {own.in_words(train.ctx_len)}, computed in {trained.model.precision}, "
        f"after step {trained.step} of {trained.folder.path}"
    )


def scoring(config: RunConfig, command: CommandRecord, run: RunConfig) -> EvaluationConfig:
    """As the command asks; as the run's last evaluation did where it says nothing of it."""
    asked = any(setting_name(override).startswith("evaluation.") for override in command.overrides)
    return config.evaluation if asked else run.evaluation
