"""Train from the composed configuration, or go on with an interrupted run, and show what came of it."""

from __future__ import annotations

import errno
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import TextIOWrapper
from pathlib import Path

from camoe.config import ConfigError, RunConfig
from camoe.config.absolute_paths import with_absolute_paths
from camoe.config.command_record import CommandRecord
from camoe.config.diagnostics import WATCH
from camoe.data.corpus import Corpus
from camoe.data.evaluation_windows import evaluation_windows
from camoe.data.preparation import prepare
from camoe.inference.document_scores import DocumentScores
from camoe.inference.evaluation import Evaluation
from camoe.jobs.initial_weights import load_initial_weights
from camoe.jobs.new_run_folder import new_run_folder
from camoe.jobs.opening_lines import opening_lines
from camoe.jobs.outcome import averaged_record, final_record, run_summary, sample
from camoe.jobs.placement import model_to_train, place
from camoe.jobs.resume import kernel_as_begun, resumed_run
from camoe.jobs.run_page import write_report
from camoe.jobs.run_to_make import run_to_make
from camoe.jobs.trained_run import refuse_other_answers, refuse_other_text
from camoe.kernels.ranks import Ranks
from camoe.tracking.array_file import save_table
from camoe.tracking.bystander import Bystander
from camoe.tracking.console import ProgressDisplay
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.shown_path import shown_path
from camoe.tracking.summary import print_summary, save_summary
from camoe.tracking.tracker import BEGINNING, Tracker
from camoe.training.batch_share import BatchShare
from camoe.training.checkpoint import CheckpointStore
from camoe.training.distributed import connected
from camoe.training.interruption import Interrupted, Interruption
from camoe.training.parallel_layout import check_parallel
from camoe.training.self_check import self_check
from camoe.training.trainer import Trainer
from camoe.training.training_text import TrainingText, answers_of

log = logging.getLogger(__name__)
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def run(config: RunConfig, command: CommandRecord) -> None:
    """One training run from its first line to its summary; exits with 128 + signal when a signal ends it."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a sample may hold what the terminal cannot show
    try:
        with Interruption() as interruption, connected(config.kernel.device) as ranks:
            _run(config, command, interruption, ranks)
    except Interrupted as stop:
        sys.exit(128 + stop.signal)


def _run(config: RunConfig, command: CommandRecord, interruption: Interruption, ranks: Ranks) -> None:
    """Everything that can refuse comes before the run folder is made, which is the first rank's to make."""
    agreed = _agreed(config, command, ranks)
    if agreed is None:
        return
    with ranks.first_before_others():
        folder, config = _opened(agreed, command, ranks)
    if folder is not None and folder.status().state == "finished":
        if ranks.is_first:
            print(f"{folder.path} is finished; nothing to go on with")
        return
    kernel = config.kernel if folder is None else kernel_as_begun(config.kernel, folder)
    placement = place(kernel, config)
    Tracker.check(config.tracking)
    if config.diagnostics == WATCH and ranks.count > 1:
        raise ConfigError(f"diagnostics: {WATCH} watches one process, not {ranks.count}; start or resume it with one")
    BatchShare.of(config.train, ranks.index, ranks.count).check_pairs(config.phase)
    check_parallel(config.parallel, placement.device, ranks)
    with ranks.first_before_others():
        corpus = prepare(config.data, config.tokenizer)
        answers = answers_of(config, corpus)
    text = TrainingText.of(config, corpus, answers)
    held_out = evaluation_windows(corpus, config.train.ctx_len, config.evaluation)
    model = model_to_train(config, placement)
    initial = load_initial_weights(config, model, folder)
    if folder is not None:
        refuse_other_text(folder.fact("data"), corpus, folder.path)
        refuse_other_answers(folder.fact("answers"), answers, folder.path)
    elif ranks.is_first:
        folder = new_run_folder(config, command, corpus, answers, model, placement, ranks.count, initial)
    folder = RunFolder(Path(ranks.tell(str(folder.path) if folder is not None else None)))
    checkpoints = CheckpointStore(folder.checkpoints, config.train.keep_checkpoints)
    with (
        _display(config, folder, ranks) as display,
        _true_status(folder, config, display, ranks) as tracker,
    ):
        with ranks.watched(partial(_finish, tracker)):
            display.say(f"run folder {folder.path}")
            display.choices(opening_lines(config, placement, corpus, model, ranks, text.answers, initial))
            trainer = Trainer(config, model, text, tracker, checkpoints, display, ranks)
            _go_on_or_begin(trainer)
            trainer.fit(interruption)
            display.say("scoring the held-out text")
            evaluation = trainer.scores.of_text(held_out)
            averaged = trainer.scores.averaged(held_out)
            answer_scores = trainer.scores.of_answers("final")
            continuation = ""
            if config.router.causal and (ranks.is_first or trainer.weights.together):
                continuation = sample(model, corpus.tokenizer, config.job, config.seeds.init)
        if ranks.is_first:
            _conclude(trainer, folder, corpus, evaluation, averaged, answer_scores, continuation)
        ranks.tell("concluded")  # until then the others wait: their end could be taken for that of the run


def _agreed(config: RunConfig, command: CommandRecord, ranks: Ranks) -> RunConfig | None:
    """The run that the first of several ranks finds is to be made, None for none; one process has looked before."""
    if ranks.count == 1 or config.resume is not None:
        return config
    found = run_to_make(config, command) if ranks.is_first else None
    told = json.loads(ranks.tell(json.dumps([found is not None, found and found.resume])))
    return replace(config, resume=told[1]) if told[0] else None


def _opened(config: RunConfig, command: CommandRecord, ranks: Ranks) -> tuple[RunFolder | None, RunConfig]:
    """The folder of the run to go on with, None for a new one, and the run's configuration."""
    if config.resume is None:
        return None, with_absolute_paths(config)
    return resumed_run(config, command, lock=ranks.is_first)


def _display(config: RunConfig, folder: RunFolder, ranks: Ranks) -> ProgressDisplay:
    if not ranks.is_first:
        return ProgressDisplay.silent()
    return ProgressDisplay(config.phase.total_steps, config.tracking.log_every, folder.log_file)


@contextmanager
def _true_status(folder: RunFolder, config: RunConfig, display: ProgressDisplay, ranks: Ranks) -> Iterator[Tracker]:
    """Whatever happens inside, the run's status says what did."""
    at_end = write_report if config.tracking.report else None
    tracker = Tracker.open(folder, config.tracking, at_end) if ranks.is_first else Bystander(folder)
    try:
        yield tracker
    except Interrupted as stop:
        _finish(tracker, stop)
        display.say(f"stopped by {stop.signal.name}; go on with: python run.py resume={shown_path(folder.path)}")
        raise
    except BaseException as error:
        _finish(tracker, error)
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise _no_room(error, folder) from error
        raise


def _no_room(error: OSError, folder: RunFolder) -> ConfigError:
    """What the user can do, whose disk it is."""
    place = shown_path(folder.path)
    return ConfigError(f"{error.filename or place}: {error.strerror}; make room, then python run.py resume={place}")


def _finish(tracker: Tracker, error: BaseException) -> None:
    """The status of a run that ends before its end."""
    if isinstance(error, Interrupted):
        tracker.finish("killed", error.signal.name)
    else:
        tracker.finish("failed", f"{type(error).__name__}: {error}")


def _go_on_or_begin(trainer: Trainer) -> None:
    """Go on from the newest whole checkpoint, or prove that a fresh model can learn."""
    checkpoint, passed_over = trainer.checkpoints.latest(trainer.misfit)
    for line in passed_over:
        log.warning("checkpoint passed over: %s", line)
    if checkpoint is None and passed_over:
        raise ConfigError(f"resume: no checkpoint to go on from: {'; '.join(passed_over)}; start a new run")
    if checkpoint is not None:
        trainer.restore(checkpoint.snapshot())
        trainer.display.say(f"going on after step {checkpoint.step}")
    else:
        trainer.tracker.rewind(BEGINNING)
    trainer.tracker.start()
    if checkpoint is None and trainer.config.train.self_check:
        started = time.perf_counter()
        with trainer.weights.whole():
            checks = self_check(trainer.model, trainer.batches.to_check())
        trainer.display.say(f"self-check: {len(checks)} mechanisms alive ({time.perf_counter() - started:.1f} s)")


def _conclude(
    trainer: Trainer,
    folder: RunFolder,
    corpus: Corpus,
    evaluation: Evaluation,
    averaged: Evaluation | None,
    answer_scores: dict[str, object],
    continuation: str,
) -> None:
    """Record the score of all of the held-out text, keep the sample, and show the summary."""
    config = trainer.config
    documents = DocumentScores.of(evaluation)
    save_table(folder.documents_file, vars(documents))
    record = final_record(trainer, corpus, evaluation, documents) | averaged_record(averaged) | answer_scores
    trainer.tracker.log(trainer.progress.step, record)
    (folder.samples / "final.txt").write_text(config.job.prompt + continuation, encoding="utf-8")
    summary = run_summary(trainer, folder, record, continuation)
    save_summary(summary, folder.path)
    trainer.display.stop()
    missing = trainer.tracker.finish("finished")
    if missing:
        later = f"python run.py job=sync_tracking job.run={shown_path(folder.path)}"
        log.warning("MLflow lacks %d records; metrics.jsonl has them all; send them with: %s", missing, later)
    print_summary(summary, trainer.display.console)
