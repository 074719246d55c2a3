"""The training loop: phases, steps, evaluations, checkpoints, and stopping at any of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from camoe.config import ConfigError, RunConfig
from camoe.config.diagnostics import WATCH
from camoe.config.signature import result_settings
from camoe.kernels.ranks import ALONE, Ranks
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups, stacked_matrices
from camoe.model.rooms import room
from camoe.tracking.console import ProgressDisplay
from camoe.tracking.shown_path import shown_path
from camoe.tracking.tracker import Tracker
from camoe.training.batch_share import BatchShare
from camoe.training.checkpoint import Checkpoint, CheckpointStore, Snapshot
from camoe.training.evidence import copied, keep_evidence
from camoe.training.held_out_scores import HeldOutScores
from camoe.training.interruption import Interruption
from camoe.training.learning_rate import schedule_factor
from camoe.training.log_window import LogWindow
from camoe.training.non_finite import NonFiniteTensor, NonFiniteWatch
from camoe.training.optimizers import build_optimizer, optimizer_tensors, restore_optimizer, set_rates
from camoe.training.parallel_layout import hold_weights
from camoe.training.phases import Phase, PhaseSchedule, let_learn
from camoe.training.random_state import random_state, restore_random_state
from camoe.training.reference_policy import PREFERENCES, ReferencePolicy
from camoe.training.run_account import Progress, RunAccount
from camoe.training.step_batches import StepBatches
from camoe.training.step_reader import StepReader
from camoe.training.train_step import StepResult, train_step
from camoe.training.training_text import TrainingText
from camoe.training.weight_average import WeightAverage

log = logging.getLogger(__name__)


class TooManySkippedSteps(RuntimeError):
    """The loss or a gradient was not finite too often."""


class Trainer:
    """Owns everything that changes during a run; `snapshot` and `restore` carry all of it.

    On several ranks all of it is the same on each, so that a run goes on with any number of them.
    """

    def __init__(
        self,
        config: RunConfig,
        model: LanguageModel,
        text: TrainingText,
        tracker: Tracker,
        checkpoints: CheckpointStore,
        display: ProgressDisplay,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config, self.model = config, model
        self.weights = hold_weights(config.parallel, model, ranks)
        self.tracker, self.checkpoints, self.display = tracker, checkpoints, display
        self.device = model.emb.weight.device
        self.groups = parameter_groups(model)
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        self.optimizer = build_optimizer(
            config.optimizer,
            self.groups,
            self.device.type,
            stacked=stacked_matrices(model),
            precision=config.train.precision,
            weights=self.weights,
        )
        self.schedule = PhaseSchedule(config.phase)
        self.ranks, self.share = ranks, BatchShare.of(config.train, ranks.index, ranks.count)
        self.share.check(config.router.capacity)
        ranks.divide(self.share.groups, self.share.group)
        self.sequences = config.train.micro_batch * config.train.grad_accum
        answers = {profile: part.loader for profile, part in text.answers.items()}
        self.loader = StepReader(self.schedule, {"pretrain": text.loader, **answers})
        pairs, rows = text.answers.get(PREFERENCES), config.train.micro_batch
        self.reference = ReferencePolicy(self.schedule, pairs, rows, ranks)
        self.batches = StepBatches(config, model, self.schedule, self.loader, self.reference, self.share)
        self.average = WeightAverage(config.averaging, self.schedule.total_steps, self.weights)
        self.scores = HeldOutScores(config, model, text, self.reference, self.average, ranks)
        self.window = LogWindow(model)
        self.account = RunAccount(model, len(self.share.parts))
        self.watch = NonFiniteWatch(model) if config.diagnostics == WATCH else None

    @property
    def progress(self) -> Progress:
        """Steps and tokens so far."""
        return self.account.progress

    def fit(self, interruption: Interruption) -> None:
        """Train to the end of the schedule; a signal ends it after the present step, saved, with Interrupted."""
        self.display.start(self.progress.step)
        if self.scores.probe is not None:
            self.tracker.keep("probe/tokens", self.scores.probe.text())
        self.account.stopwatch.start()
        with interruption.deferred(self.ranks.largest):
            stop = interruption.requested
            while self.progress.step < self.schedule.total_steps and not stop:
                phase = self.advance() if self.watch is None else self._advance_or_keep_evidence()
                if self._due(self.config.tracking.log_every) or self.progress.step == phase.end:
                    self._log(phase)  # also at a phase's end, so that no record mixes phases
                if self._due(self.config.train.eval_every):
                    self._log_held_out()
                stop = interruption.requested  # asked once a step: what stops the loop is what saves the step
                if stop or self._due(self.config.train.checkpoint_every):
                    self._save()

    def advance(self) -> Phase:
        """One optimiser step, counted; returns the phase that it belonged to."""
        phase = self._enter_phase()
        self._note(phase, self._step(phase))
        self.average.note(self.model, self.progress.step)
        return phase

    def _advance_or_keep_evidence(self) -> Phase:
        """`advance`; where a tensor is not finite, what job=replay_batch needs lies in the run folder afterwards."""
        before, window = copied(self.snapshot()), self.loader.rows_of(self.progress.step).tokens
        try:
            return self.advance()
        except NonFiniteTensor as found:
            place = keep_evidence(self._run_folder, before, window, found.finding)
            self.display.say(f"not finite: {found.finding}")
            replay = f"python run.py job=replay_batch job.run={shown_path(self._run_folder)}"
            self.display.say(f"state before the step and its tokens are in {shown_path(place)}; run it again: {replay}")
            raise

    @property
    def _run_folder(self) -> Path:
        return self.checkpoints.root.parent

    def _save(self) -> None:
        if not self.ranks.is_first and not self.weights.divided:
            return
        snapshot = self.snapshot()
        with self.account.stopwatch.left_out():
            self.checkpoints.save(self.progress.step, snapshot, self.ranks)

    def snapshot(self) -> Snapshot:
        """Everything needed to go on, bit for bit."""
        weights, extra = _tensors_and_values(self.model.state_dict())
        generators, generator_values = random_state()
        tensors, divided = self.weights.sorted_out(
            {
                "model": weights,
                "optimizer": optimizer_tensors(self.optimizer, self._names, self.weights),
                "random": generators,
                "averaged": self.average.weights,
                "reference": self.reference.state(),
                **self.window.state(),
            }
        )
        return Snapshot(
            divided=divided,
            tensors=tensors,
            values={
                **self.account.state(),
                "model": extra,
                "random": generator_values,
                "loader": self.loader.state_dict(),
                "tracker": self.tracker.state(),
                "config": result_settings(self.config),
            },
        )

    def misfit(self, checkpoint: Checkpoint) -> str | None:
        """Why this run cannot go on from a whole checkpoint; None when it can."""
        values = checkpoint.values()
        if values["config"] != result_settings(self.config):
            return "belongs to a run of another configuration"
        return self.tracker.lacks(values["tracker"])

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot; the tracker forgets the records after it."""
        values, tensors = snapshot.values, snapshot.tensors
        if values["config"] != result_settings(self.config):
            raise ConfigError("resume: the checkpoint belongs to a run of another configuration")
        self.weights.load(self.model, tensors["model"], values["model"])
        restore_optimizer(self.optimizer, self._names, tensors["optimizer"], self.weights)
        self.average.restore(tensors["averaged"], self.model)
        self.window.load_state(tensors, self.device)
        self.loader.load_state_dict(values["loader"])
        self.account.load_state(values)
        self.tracker.rewind(values["tracker"])
        self.reference.load_state(tensors["reference"])
        restore_random_state(tensors["random"], values["random"])

    def spent(self) -> dict[str, object]:
        """What the run has read and cost so far, up to the last record of training."""
        return {**self.account.spent(), "progress/stream_hash": self.loader.stream_hash(self.progress.step)}

    def _enter_phase(self) -> Phase:
        """The phase of the coming step: what may learn, whether the market bids, and at which rates."""
        step = self.progress.step
        phase = self.schedule.at(step)
        self.weights.rest()
        let_learn(phase, self.groups)
        self.model.market.bidding = phase.config.market_bids
        factor = schedule_factor(self.config.optimizer, step, self.schedule.total_steps)
        set_rates(self.optimizer, self.config.train.base_lr * factor, phase)
        self.progress.extra_passes += self.reference.enter(self.model, step)
        return phase

    def _step(self, phase: Phase) -> StepResult:
        with room("data"):
            batches = self.batches.of_step(self.progress.step)
        clip = self.config.optimizer.grad_clip
        statistics = self.window.statistics
        step = partial(train_step, self.model, self.optimizer, batches, phase, statistics, grad_clip=clip)
        if self.watch is None:
            return step(ranks=self.ranks, weights=self.weights)
        with self.watch.watching(self.progress.step + 1):
            return step(ranks=self.ranks, watch=self.watch)

    def _note(self, phase: Phase, result: StepResult) -> None:
        """Count the step and remember what the next record will say."""
        step = self.progress.step
        audits = self.batches.experiments(step) if result.market is not None else None
        self.account.add(self.loader.rows_of(step), audits, applied=result.applied)
        if result.applied:
            self.window.add(result)
        else:
            self._say_skipped(phase)

    def _say_skipped(self, phase: Phase) -> None:
        step, skipped, allowed = self.progress.step, self.progress.skipped_steps, self.config.train.max_skipped_steps
        log.warning("step %d: loss or gradient is not finite, step skipped; %s", step, self._cause())
        if skipped > allowed:
            raise TooManySkippedSteps(
                f"{skipped} steps skipped for a loss or gradient that is not finite, the last one step {step} in phase "
                f"{phase.name}; train.max_skipped_steps allows {allowed}; {self._cause()}"
            )

    def _cause(self) -> str:
        return f"find the first tensor: python run.py resume={shown_path(self._run_folder)} diagnostics=nan"

    def _due(self, interval: int) -> bool:
        return self.progress.step % interval == 0 or self.progress.step == self.schedule.total_steps

    def _log(self, phase: Phase) -> None:
        """One record of the window since the last one; then a new window begins."""
        window = self.window.record()
        record = {**window, **self._phase_record(phase), **self.account.lap(window), **self.spent()}
        self.tracker.log(self.progress.step, record)
        if (booked := self.window.booked()) is not None:
            self.tracker.book(self.progress.step, {"tokens_seen": self.progress.tokens_seen, **booked})
        shown = f"loss/{'preference' if phase.config.objective == 'preference' else 'language_model'}"
        loss, speed = record.get(shown, math.nan), record["time/tokens_per_s"]
        self.display.update(self.progress.step, loss=loss, tokens_per_s=speed, phase=phase.name)
        self.window.reset()

    def _log_held_out(self) -> None:
        with self.account.stopwatch.left_out():
            record, reading = self.scores.so_far()
        self.tracker.log(self.progress.step, record)
        if reading is not None:
            with self.account.stopwatch.left_out():
                self.tracker.keep(f"probe/step_{self.progress.step:08d}", reading)

    def _phase_record(self, phase: Phase) -> dict[str, object]:
        rates = {group["phase_group"]: group["lr"] / group["rate_factor"] for group in self.optimizer.param_groups}
        return {
            "phase/name": phase.name,
            "phase/index": self.schedule.phases.index(phase),
            "phase/market_bids": int(self.model.market.bidding),
            "phase/market_settles": int(phase.config.market_settles and self.model.market.has_capital),
            **{f"phase/lr_{name}": rate for name, rate in rates.items()},
        }


def _tensors_and_values(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A state dict parted into what safetensors holds and what JSON holds."""
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return tensors, {name: value for name, value in state.items() if name not in tensors}
