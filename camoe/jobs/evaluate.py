"""Score a run's newest checkpoint, or an exported model, on all of its held-out text again and on benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from camoe.config import RunConfig
from camoe.config.command_record import CommandRecord, setting_name
from camoe.config.evaluation import EvaluationConfig
from camoe.data.document_domains import held_out_domains
from camoe.data.evaluation_windows import evaluation_windows
from camoe.data.python_parts import PARTS, held_out_parts
from camoe.inference.benchmark import require_lm_eval, run_benchmarks
from camoe.inference.benchmark_figures import BenchmarkFigure
from camoe.inference.continuation_scores import ContinuationScorer
from camoe.inference.domain_scores import DomainScore
from camoe.inference.evaluation import Evaluation, evaluate
from camoe.inference.evaluation_report import BenchmarkProgress, benchmark_table, domain_table
from camoe.inference.evaluation_results import EvaluationResults
from camoe.inference.part_scores import part_scores
from camoe.jobs.trained_run import TrainedRun, open_trained_run
from camoe.model.language_model import LanguageModel
from camoe.tracking.array_file import save_arrays
from camoe.tracking.atomic_file import write_json
from camoe.tracking.late_results import LateResult, send_late_results
from camoe.tracking.routing_statistics import routing_statistics_of
from camoe.tracking.run_folder import RunFolder

SCORING = ("evaluation.mode", "evaluation.stride", "evaluation.by_document")


def run(config: RunConfig, command: CommandRecord) -> None:
    """Print figures and write them to evaluation.json in the run folder, or beside the exported file.

    A run that is in MLflow gets them there as well.
    """
    if config.evaluation.tasks:
        require_lm_eval()
    trained = open_trained_run(config, command)
    own = scoring(config, command, trained.config)
    domains = held_out_domains(trained.config.data, own.domain_field)
    figures = benchmarks(trained, own)
    evaluation = score(trained, own, trained.model)
    results = EvaluationResults.of(evaluation, domains, parts(trained, evaluation), figures)
    files = _save(trained, own, results)
    _show(trained, own, results)
    if trained.source.is_dir():
        send_late_results(RunFolder.open(trained.source), _late(trained, results), files)


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


def parts(trained: TrainedRun, evaluation: Evaluation) -> list[DomainScore]:
    """Code, comments and docstrings of the standard library; nothing for any other text."""
    if trained.config.data.source != "python_stdlib":
        return []
    return part_scores(evaluation, held_out_parts(trained.corpus), PARTS)


def benchmarks(trained: TrainedRun, config: EvaluationConfig) -> list[BenchmarkFigure]:
    """The figures of the benchmarks that were asked for, none where none were."""
    if not config.tasks or not config.task_data:
        return []
    train, folder = trained.config.train, Path(config.task_data)
    scorer = ContinuationScorer(trained.model, train.micro_batch * train.ctx_len, train.ctx_len)
    cache = Path(trained.config.data.cache_dir) / "benchmarks"
    with BenchmarkProgress() as progress:
        return run_benchmarks(
            scorer,
            trained.corpus.tokenizer,
            config.tasks,
            folder,
            cache,
            limit=config.limit,
            group_field=config.group_field,
            progress=progress,
        )


def _save(trained: TrainedRun, config: EvaluationConfig, results: EvaluationResults) -> list[Path]:
    """The files written."""
    room = {"raw": "final", "averaged": "final_averaged"}[trained.origin.weights]
    figures, positions = trained.result("evaluation.json"), trained.result("evaluation_positions.npz")
    write_json(figures, {"step": trained.origin.step, "evaluation": vars(config), **results.record(room)})
    save_arrays(positions, vars(results.positions))
    return [figures, positions]


def _show(trained: TrainedRun, config: EvaluationConfig, results: EvaluationResults) -> None:
    print(
        f"{results.whole.bits_per_byte:.4f} bits per byte over {results.whole.text_bytes:,} bytes of held-out text, "
        f"{trained.origin.weights} weights, {config.in_words(trained.config.train.ctx_len)}, "
        f"computed in {trained.model.precision}, after step {trained.origin.step} of {trained.source}"
    )
    if len(results.domains) > 1:
        Console().print(domain_table(results.domains))
    if results.parts:
        Console().print(domain_table(results.parts, "part"))
    if results.benchmarks:
        Console().print(benchmark_table(results.benchmarks))


def _late(trained: TrainedRun, results: EvaluationResults) -> Iterator[LateResult]:
    """The metrics at the checkpoint's step; loss by position is a curve whose steps are positions."""
    room = {"raw": "evaluation", "averaged": "evaluation_averaged"}[trained.origin.weights]
    for name, value in results.metrics():
        yield LateResult(f"{room}/{name}", value, trained.origin.step)
    for band in results.positions.bands():
        yield LateResult(f"{room}/loss_by_position", band["nats"], int(band["first"]))
