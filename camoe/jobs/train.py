"""Train from the composed configuration, or go on with an interrupted run, and show what came of it."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import asdict

from camoe.config import ConfigError, RunConfig
from camoe.config.command_record import CommandRecord
from camoe.config.signature import signature
from camoe.data.corpus import Corpus
from camoe.data.preparation import prepare
from camoe.jobs.opening_lines import opening_lines
from camoe.jobs.outcome import final_record, run_summary, sample
from camoe.jobs.placement import Placement, place
from camoe.jobs.resume import resumed_run
from camoe.model.language_model import LanguageModel
from camoe.model.weights_hash import weights_hash
from camoe.tracking.console import ProgressDisplay
from camoe.tracking.provenance import collect_provenance
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.summary import print_summary, save_summary
from camoe.tracking.tracker import Tracker
from camoe.training.checkpoint import CheckpointStore
from camoe.training.interruption import Interruption
from camoe.training.self_check import self_check
from camoe.training.trainer import Trainer

log = logging.getLogger(__name__)


def run(config: RunConfig, command: CommandRecord) -> None:
    """One training run from its first line to its summary; exits with 128 + signal when interrupted."""
    folder, config = resumed_run(config, command) if config.resume is not None else (None, config)
    placement = place(config.kernel)
    corpus = prepare(config.data, config.tokenizer)
    model = LanguageModel(config).to(placement.device)
    model.use_wkv_backend(placement.wkv.name, config.kernel.chunk_len)
    if folder is None:
        folder = _new_folder(config, command, corpus, model, placement)
    elif folder.provenance()["data"] != corpus.fingerprint:
        raise ConfigError(f"resume: {folder.path} was trained on other text than data and tokenizer give now")
    tracker = Tracker.open(folder, config.tracking)
    checkpoints = CheckpointStore(folder.checkpoints, config.train.keep_checkpoints)
    with ProgressDisplay(config.phase.total_steps, config.tracking.log_every, folder.log_file) as display:
        trainer = Trainer(config, model, corpus, tracker, checkpoints, display)
        display.say(f"run folder {folder.path}")
        display.choices(opening_lines(config, placement, corpus, model))
        _train_to_an_end(trainer, folder, corpus)


def _train_to_an_end(trainer: Trainer, folder: RunFolder, corpus: Corpus) -> None:
    """Whatever happens, the run's status says what did."""
    tracker = trainer.tracker
    try:
        with Interruption() as interruption:
            _prepare_trainer(trainer)
            tracker.start()
            finished = trainer.fit(interruption)
            if finished:
                _conclude(trainer, folder, corpus)
    except KeyboardInterrupt:
        tracker.finish("killed", "Ctrl-C twice")
        raise
    except Exception as error:
        tracker.finish("failed", f"{type(error).__name__}: {error}")
        raise
    if interruption.signal is not None and not finished:
        tracker.finish("killed", interruption.signal.name)
        trainer.display.say(
            f"stopped by {interruption.signal.name} after step {trainer.progress.step}, saved; go on with:"
        )
        trainer.display.say(f"  python run.py resume={folder.path}")
        sys.exit(128 + interruption.signal)


def _prepare_trainer(trainer: Trainer) -> None:
    """Go on from the newest whole checkpoint, or prove that a fresh model can learn."""
    checkpoint, damaged = trainer.checkpoints.latest()
    for line in damaged:
        log.warning("checkpoint passed over: %s", line)
    if checkpoint is not None:
        trainer.restore(checkpoint.snapshot())
        trainer.display.say(f"going on after step {checkpoint.step}")
        return
    if damaged:
        raise ConfigError(f"resume: every checkpoint in {trainer.checkpoints.root} is damaged; start a new run")
    trainer.tracker.rewind({"metrics_position": 0})
    if trainer.config.train.self_check:
        started = time.perf_counter()
        checks = self_check(trainer.model, trainer.check_batch())
        trainer.display.say(f"self-check: {len(checks)} mechanisms alive ({time.perf_counter() - started:.1f} s)")


def _conclude(trainer: Trainer, folder: RunFolder, corpus: Corpus) -> None:
    """Score all of the held-out text, sample, and show the summary."""
    config = trainer.config
    trainer.display.say("scoring the held-out text")
    record = final_record(trainer, corpus, trainer.evaluate())
    trainer.tracker.log(trainer.progress.step, record)
    text = sample(trainer.model, corpus.tokenizer, config.job, config.seeds.init)
    (folder.samples / "final.txt").write_text(config.job.prompt + text, encoding="utf-8")
    summary = run_summary(trainer, folder, record, text)
    save_summary(summary, folder.path)
    trainer.display.stop()
    missing = trainer.tracker.finish("finished")
    if missing:
        log.warning("MLflow lacks %d records; metrics.jsonl has them all", missing)
    print_summary(summary, trainer.display.console)


def _new_folder(
    config: RunConfig, command: CommandRecord, corpus: Corpus, model: LanguageModel, placement: Placement
) -> RunFolder:
    provenance = collect_provenance(
        data=corpus.fingerprint,
        initial_weights=weights_hash(model),
        device=str(placement.device),
        wkv_backend=placement.wkv.name,
        threads=placement.threads,
    )
    return RunFolder.create(
        config.output_dir,
        config.name,
        signature(config),
        config=asdict(config),
        overrides=command.overrides,
        provenance=provenance,
    )
