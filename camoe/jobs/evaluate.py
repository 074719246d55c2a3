"""Score a run's newest checkpoint, or an exported model, on all of its held-out text again and on benchmarks."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from camoe.config import RunConfig
from camoe.config.command_record import CommandRecord, setting_name
from camoe.config.evaluation import EvaluationConfig
from camoe.data.evaluation_windows import evaluation_windows
from camoe.inference.benchmark import BenchmarkFigure, require_lm_eval, run_benchmarks
from camoe.inference.benchmark_report import BenchmarkProgress, benchmark_table
from camoe.inference.continuation_scores import ContinuationScorer
from camoe.inference.document_scores import DocumentScores
from camoe.inference.evaluation import Evaluation, evaluate
from camoe.jobs.trained_run import TrainedRun, open_trained_run
from camoe.model.language_model import LanguageModel
from camoe.tracking.atomic_file import write_json
from camoe.tracking.routing_statistics import routing_statistics_of

SCORING = ("evaluation.mode", "evaluation.stride", "evaluation.by_document")


def run(config: RunConfig, command: CommandRecord) -> None:
    """Print figures and write them to evaluation.json in the run folder, or beside the exported file."""
    if config.evaluation.tasks:
        require_lm_eval()
    trained = open_trained_run(config, command)
    own = scoring(config, command, trained.config)
    figures = benchmarks(trained, own)
    result = score(trained, own, trained.model)
    room = {"raw": "final", "averaged": "final_averaged"}[trained.origin.weights]
    record = {
        "step": trained.origin.step,
        "evaluation": vars(own),
        **result.record(room),
        f"{room}/bpb_error": DocumentScores.of(result).bpb_error(),
        "benchmarks": [_in_json(figure) for figure in figures],
    }
    write_json(trained.result("evaluation.json"), record)
    print(
        f"{result.bits_per_byte:.4f} bits per byte over {result.text_bytes:,} bytes of held-out text, "
        f"{trained.origin.weights} weights, {own.in_words(trained.config.train.ctx_len)}, "
        f"computed in {trained.model.precision}, after step {trained.origin.step} of {trained.source}"
    )
    if figures:
        Console().print(benchmark_table(figures))


def scoring(config: RunConfig, command: CommandRecord, run: RunConfig) -> EvaluationConfig:
    """As the command asks; the text as the run's last evaluation did where it says nothing of that."""
    if any(setting_name(override) in SCORING for override in command.overrides):
        return config.evaluation
    names = (setting.removeprefix("evaluation.") for setting in SCORING)
    return replace(config.evaluation, **{name: getattr(run.evaluation, name) for name in names})


def score(trained: TrainedRun, config: EvaluationConfig, model: LanguageModel) -> Evaluation:
    """All of the run's held-out text under a model of its configuration."""
    train = trained.config.train
    windows = evaluation_windows(trained.corpus, train.ctx_len, config)
    return evaluate(model, windows, train.micro_batch, routing_statistics_of(model))


def benchmarks(trained: TrainedRun, config: EvaluationConfig) -> list[BenchmarkFigure]:
    """The figures of the benchmarks that were asked for, none where none were."""
    if not config.tasks or not config.task_data:
        return []
    train = trained.config.train
    scorer = ContinuationScorer(trained.model, train.micro_batch * train.ctx_len, train.ctx_len)
    cache = Path(trained.config.data.cache_dir) / "benchmarks"
    folder = Path(config.task_data)
    with BenchmarkProgress() as progress:
        return run_benchmarks(
            scorer, trained.corpus.tokenizer, config.tasks, folder, cache, limit=config.limit, progress=progress
        )


def _in_json(figure: BenchmarkFigure) -> dict[str, object]:
    """A standard error that is not known is null."""
    return {**asdict(figure), "error": None if math.isnan(figure.error) else figure.error}
