"""Run the step again that diagnostics=nan stopped at, on the state and the tokens that it kept."""

from __future__ import annotations

import sys
from dataclasses import replace

from camoe.config import RunConfig
from camoe.config.command_record import CommandRecord, setting_name
from camoe.config.diagnosed import diagnosed
from camoe.config.diagnostics import WATCH, in_words
from camoe.config.saved import saved_run
from camoe.config.signature import result_settings
from camoe.data.preparation import prepare
from camoe.jobs.foreign_settings import refuse_foreign
from camoe.jobs.placement import model_to_train, place
from camoe.jobs.resume import kernel_as_begun
from camoe.jobs.trained_run import refuse_other_text
from camoe.tracking.bystander import Bystander
from camoe.tracking.console import ProgressDisplay
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.shown_path import shown_path
from camoe.training.checkpoint import CheckpointStore
from camoe.training.evidence import Evidence
from camoe.training.non_finite import Finding, NonFiniteTensor, NonFiniteWatch
from camoe.training.trainer import Trainer
from camoe.training.training_text import TrainingText, answers_of


def run(config: RunConfig, command: CommandRecord) -> None:
    """Say whether the same tensor is the first again; exits with 1 when it is not. Writes nothing."""
    assert config.job.run is not None
    own = ("job", "kernel", "diagnostics")
    refuse_foreign(command.overrides, own, f"job.run: {config.job.run} is read with")
    folder = RunFolder.open(config.job.run, "job.run")
    evidence = Evidence.newest(folder.path)
    run = _configuration(config, command, folder)
    print(f"{shown_path(evidence.place)}: {evidence.finding}")
    if run.diagnostics != WATCH:
        print(f"diagnostics={run.diagnostics} {in_words(run.diagnostics)}")
    found = replay(_trainer(run, folder), evidence)
    print(verdict(evidence.finding, found))
    if found != evidence.finding:
        sys.exit(1)


def replay(trainer: Trainer, evidence: Evidence) -> Finding | None:
    """The first tensor that is not finite when the kept step is run by this trainer; None when all are finite."""
    settings = {"config": result_settings(trainer.config), "tracker": trainer.tracker.state()}
    trainer.restore(replace(evidence.before, values={**evidence.before.values, **settings}))
    trainer.loader.keep(trainer.progress.step, evidence.window)
    trainer.watch = NonFiniteWatch(trainer.model)
    try:
        trainer.advance()
    except NonFiniteTensor as again:
        return again.finding
    return None


def verdict(kept: Finding, found: Finding | None) -> str:
    """One line."""
    if found is None:
        return "replayed: every tensor is finite"
    if found == kept:
        return "replayed: the same first tensor, with the same statistics"
    same = (found.stage, found.tensor) == (kept.stage, kept.tensor)
    return f"replayed: {'the same first tensor, with other statistics' if same else 'another first tensor'}: {found}"


def _configuration(config: RunConfig, command: CommandRecord, folder: RunFolder) -> RunConfig:
    """The run's own, with the kernel settings and the diagnostics of the command."""
    run = saved_run(folder.config(), str(folder.config_file))
    says_kernel = any(setting_name(override).partition(".")[0] == "kernel" for override in command.overrides)
    kernel = config.kernel if says_kernel else kernel_as_begun(run.kernel, folder)
    mode = WATCH if config.diagnostics == "none" else config.diagnostics
    return diagnosed(replace(run, kernel=kernel, diagnostics=mode))


def _trainer(run: RunConfig, folder: RunFolder) -> Trainer:
    corpus = prepare(run.data, run.tokenizer)
    refuse_other_text(folder.fact("data"), corpus, folder.path)
    placement = place(run.kernel, run)
    model = model_to_train(run, placement)
    store = CheckpointStore(folder.checkpoints)
    text = TrainingText.of(run, corpus, answers_of(run, corpus))
    return Trainer(run, model, text, Bystander(folder), store, ProgressDisplay.silent())
