"""Score all of a run's held-out text again from its newest checkpoint, or from an exported model."""

from __future__ import annotations

from camoe.config import RunConfig
from camoe.config.command_record import CommandRecord, setting_name
from camoe.config.evaluation import EvaluationConfig
from camoe.data.evaluation_windows import evaluation_windows
from camoe.inference.document_scores import DocumentScores
from camoe.inference.evaluation import Evaluation, evaluate
from camoe.jobs.trained_run import TrainedRun, open_trained_run
from camoe.model.language_model import LanguageModel
from camoe.tracking.atomic_file import write_json
from camoe.tracking.routing_statistics import routing_statistics_of


def run(config: RunConfig, command: CommandRecord) -> None:
    """Print bits per byte and write evaluation.json into the run folder, or beside the exported file."""
    trained = open_trained_run(config, command)
    own = scoring(config, command, trained.config)
    result = score(trained, own, trained.model)
    room = {"raw": "final", "averaged": "final_averaged"}[trained.origin.weights]
    record = {
        "step": trained.origin.step,
        "evaluation": vars(own),
        **result.record(room),
        f"{room}/bpb_error": DocumentScores.of(result).bpb_error(),
    }
    write_json(trained.result("evaluation.json"), record)
    print(
        f"{result.bits_per_byte:.4f} bits per byte over {result.text_bytes:,} bytes of held-out text, "
        f"{trained.origin.weights} weights, {own.in_words(trained.config.train.ctx_len)}, "
        f"computed in {trained.model.precision}, after step {trained.origin.step} of {trained.source}"
    )


def scoring(config: RunConfig, command: CommandRecord, run: RunConfig) -> EvaluationConfig:
    """As the command asks; as the run's last evaluation did where it says nothing of it."""
    asked = any(setting_name(override).startswith("evaluation.") for override in command.overrides)
    return config.evaluation if asked else run.evaluation


def score(trained: TrainedRun, config: EvaluationConfig, model: LanguageModel) -> Evaluation:
    """All of the run's held-out text under a model of its configuration."""
    train = trained.config.train
    windows = evaluation_windows(trained.corpus, train.ctx_len, config)
    return evaluate(model, windows, train.micro_batch, routing_statistics_of(model))
