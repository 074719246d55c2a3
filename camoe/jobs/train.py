"""Train from the composed configuration, or go on with an interrupted run, and show what came of it."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

from camoe.config import ConfigError, RunConfig
from camoe.config.absolute_paths import with_absolute_paths
from camoe.config.command_record import CommandRecord
from camoe.data.corpus import Corpus
from camoe.data.preparation import prepare
from camoe.inference.document_scores import DocumentScores
from camoe.jobs.new_run_folder import new_run_folder
from camoe.jobs.opening_lines import opening_lines
from camoe.jobs.outcome import final_record, run_summary, sample
from camoe.jobs.placement import model_to_train, place
from camoe.jobs.resume import kernel_as_begun, resumed_run
from camoe.jobs.run_page import write_report
from camoe.jobs.trained_run import refuse_other_text
from camoe.tracking.array_file import save_table
from camoe.tracking.console import ProgressDisplay
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.shown_path import shown_path
from camoe.tracking.summary import print_summary, save_summary
from camoe.tracking.tracker import BEGINNING, Tracker
from camoe.training.checkpoint import CheckpointStore
from camoe.training.interruption import Interrupted, Interruption
from camoe.training.self_check import self_check
from camoe.training.trainer import Trainer
from camoe.training.training_text import TrainingText

log = logging.getLogger(__name__)


def run(config: RunConfig, command: CommandRecord) -> None:
    """One training run from its first line to its summary; exits with 128 + signal when a signal ends it."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a sample may hold what the terminal cannot show
    try:
        with Interruption() as interruption:
            _run(config, command, interruption)
    except Interrupted as stop:
        sys.exit(128 + stop.signal)


def _run(config: RunConfig, command: CommandRecord, interruption: Interruption) -> None:
    """Everything that can refuse comes before the run folder is made."""
    folder, config = resumed_run(config, command) if config.resume is not None else (None, with_absolute_paths(config))
    if folder is not None and folder.status().state == "finished":
        print(f"{folder.path} is finished; nothing to go on with")
        return
    kernel = config.kernel if folder is None else kernel_as_begun(config.kernel, folder)
    placement = place(kernel, config)
    Tracker.check(config.tracking)
    corpus = prepare(config.data, config.tokenizer)
    text = TrainingText.of(config, corpus)
    model = model_to_train(config, placement)
    if folder is None:
        folder = new_run_folder(config, command, corpus, model, placement)
    else:
        refuse_other_text(folder, corpus)
    checkpoints = CheckpointStore(folder.checkpoints, config.train.keep_checkpoints)
    with (
        ProgressDisplay(config.phase.total_steps, config.tracking.log_every, folder.log_file) as display,
        _true_status(folder, config, display) as tracker,
    ):
        trainer = Trainer(config, model, text, tracker, checkpoints, display)
        display.say(f"run folder {folder.path}")
        display.choices(opening_lines(config, placement, corpus, model))
        _go_on_or_begin(trainer)
        trainer.fit(interruption)
        _conclude(trainer, folder, corpus)


@contextmanager
def _true_status(folder: RunFolder, config: RunConfig, display: ProgressDisplay) -> Iterator[Tracker]:
    """Whatever happens inside, the run's status says what did."""
    tracker = Tracker.open(folder, config.tracking, at_end=write_report if config.tracking.report else None)
    try:
        yield tracker
    except Interrupted as stop:
        tracker.finish("killed", stop.signal.name)
        display.say(f"stopped by {stop.signal.name}; go on with: python run.py resume={shown_path(folder.path)}")
        raise
    except BaseException as error:
        tracker.finish("failed", f"{type(error).__name__}: {error}")
        raise


def _go_on_or_begin(trainer: Trainer) -> None:
    """Go on from the newest whole checkpoint, or prove that a fresh model can learn."""
    checkpoint, damaged = trainer.checkpoints.latest()
    for line in damaged:
        log.warning("checkpoint passed over: %s", line)
    if checkpoint is None and damaged:
        raise ConfigError(f"resume: every checkpoint in {trainer.checkpoints.root} is damaged; start a new run")
    if checkpoint is not None:
        trainer.restore(checkpoint.snapshot())
        trainer.display.say(f"going on after step {checkpoint.step}")
    else:
        trainer.tracker.rewind(BEGINNING)
    trainer.tracker.start()
    if checkpoint is None and trainer.config.train.self_check:
        started = time.perf_counter()
        checks = self_check(trainer.model, trainer.check_batch())
        trainer.display.say(f"self-check: {len(checks)} mechanisms alive ({time.perf_counter() - started:.1f} s)")


def _conclude(trainer: Trainer, folder: RunFolder, corpus: Corpus) -> None:
    """Score all of the held-out text, sample, and show the summary."""
    config = trainer.config
    trainer.display.say("scoring the held-out text")
    evaluation = trainer.evaluate(trainer.held_out)
    documents = DocumentScores.of(evaluation)
    save_table(folder.documents_file, vars(documents))
    record = final_record(trainer, corpus, evaluation, documents)
    trainer.tracker.log(trainer.progress.step, record)
    continuation = sample(trainer.model, corpus.tokenizer, config.job, config.seeds.init)
    (folder.samples / "final.txt").write_text(config.job.prompt + continuation, encoding="utf-8")
    summary = run_summary(trainer, folder, record, continuation)
    save_summary(summary, folder.path)
    trainer.display.stop()
    missing = trainer.tracker.finish("finished")
    if missing:
        later = f"python run.py job=sync_tracking job.run={shown_path(folder.path)}"
        log.warning("MLflow lacks %d records; metrics.jsonl has them all; send them with: %s", missing, later)
    print_summary(summary, trainer.display.console)
