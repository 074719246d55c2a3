"""The training loop: phases, steps, evaluations, checkpoints, and stopping at any of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camoe.config import ConfigError, RunConfig
from camoe.config.diagnostics import WATCH
from camoe.config.signature import result_settings
from camoe.data.step_rows import StepRows
from camoe.kernels.ranks import ALONE, Ranks
from camoe.model.cost import LEARNING
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups, stacked_matrices
from camoe.model.rooms import room
from camoe.tracking.console import ProgressDisplay
from camoe.tracking.shown_path import shown_path
from camoe.tracking.tracker import Tracker
from camoe.training.batch_share import BatchShare
from camoe.training.checkpoint import Checkpoint, CheckpointStore, Snapshot
from camoe.training.evidence import copied, keep_evidence
from camoe.training.experiments import Experiments
from camoe.training.held_out_scores import HeldOutScores
from camoe.training.interruption import Interruption
from camoe.training.learning_rate import schedule_factor
from camoe.training.log_window import LogWindow
from camoe.training.micro_batch import MicroBatch, micro_batches
from camoe.training.non_finite import NonFiniteTensor, NonFiniteWatch
from camoe.training.objectives import Batch
from camoe.training.optimizers import build_optimizer, optimizer_tensors, restore_optimizer, set_rates
from camoe.training.parallel_layout import hold_weights
from camoe.training.phases import Phase, PhaseSchedule, let_learn
from camoe.training.preference import Preferences
from camoe.training.random_state import random_state, restore_random_state
from camoe.training.reference_policy import PREFERENCES, ReferencePolicy
from camoe.training.router_noise import RouterNoise
from camoe.training.step_reader import StepReader
from camoe.training.stopwatch import Stopwatch
from camoe.training.train_step import StepResult, train_step
from camoe.training.training_flops import AuditCost, counting_passes, training_flops
from camoe.training.training_text import TrainingText
from camoe.training.weight_average import WeightAverage

log = logging.getLogger(__name__)
CHECK_LEN = 32  # tokens per sequence of the self-check


class TooManySkippedSteps(RuntimeError):
    """The loss or a gradient was not finite too often."""


@dataclass
class Progress:
    """Counters of the whole run. train_flops: up to the last record; extra_passes: forward passes of one token since
    then, beside those of learning: audits, and counts of load before a step."""

    step: int = 0
    tokens_seen: int = 0
    skipped_steps: int = 0
    train_flops: float = 0.0
    extra_passes: float = 0.0


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
        self.noise = RouterNoise(config.seeds.router_noise, config.model.n_layer, model.config.experts.total)
        self.experiments = Experiments(config.seeds.router_noise, model.market, config.experts.total)
        self.average = WeightAverage(config.averaging, self.schedule.total_steps, self.weights)
        self.scores = HeldOutScores(config, model, text, self.reference, self.average, ranks)
        self.window = LogWindow(model)
        self.progress = Progress()
        self.watch = NonFiniteWatch(model) if config.diagnostics == WATCH else None
        self._audit_cost = AuditCost.of(model)
        self._counting = counting_passes(model, len(self.share.parts), 1)
        self._stopwatch, self._tokens_at_lap = Stopwatch(), 0

    def fit(self, interruption: Interruption) -> None:
        """Train to the end of the schedule; a signal ends it after the present step, saved, with Interrupted."""
        self.display.start(self.progress.step)
        if self.scores.probe is not None:
            self.tracker.keep("probe/tokens", self.scores.probe.text())
        self._stopwatch.start()
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
        with self._stopwatch.left_out():
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
                "progress": asdict(self.progress),
                "training_s": self._stopwatch.seconds(),
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
        self.progress = Progress(**values["progress"])
        self.tracker.rewind(values["tracker"])
        self.reference.load_state(tensors["reference"])
        self._stopwatch = Stopwatch(self.progress.step, values["training_s"])
        self._tokens_at_lap = self.progress.tokens_seen
        restore_random_state(tensors["random"], values["random"])

    def batches(self, step: int) -> list[MicroBatch]:
        """This rank's micro-batches of one optimiser step with noise and experiments, a pure function of the step."""
        rows = self.loader.rows_of(step)
        window = torch.from_numpy(rows.tokens).to(self.device)
        learned = None if rows.learned is None else torch.from_numpy(rows.learned).to(self.device)
        noise = self.noise.of_step(step, self.sequences, window.shape[1] - 1).to(self.device)
        experiments = self.experiments.of_step(step, self.sequences)
        preferences = self._preferences(rows, self.schedule.at(step))
        return list(micro_batches(window, noise, experiments, self.share.parts, learned, preferences))

    def _preferences(self, rows: StepRows, phase: Phase) -> Preferences | None:
        """What the reference policy says of the step's pairs; None where it reads none."""
        if phase.config.objective != "preference":
            return None
        assert rows.items is not None
        reference = self.reference.of_items(rows.items).to(self.device)
        return Preferences(reference, phase.config.preference_beta)

    def check_batch(self) -> Batch:
        """A short batch of the first step's tokens, for the start-up self-check."""
        window = torch.from_numpy(self.loader.rows_of(0).tokens[self.share.parts[0]]).to(self.device)
        return Batch(window[:2, :-1][:, :CHECK_LEN], window[:2, 1:][:, :CHECK_LEN])

    def tokens_per_s(self) -> float:
        """Training tokens per second of the whole run."""
        seconds = self._stopwatch.seconds_at_lap
        return self._tokens_at_lap / seconds if seconds else 0.0

    def elapsed(self) -> float:
        """Seconds since this process began to train."""
        return self._stopwatch.elapsed()

    def spent(self) -> dict[str, object]:
        """What the run has read and cost so far, up to the last record of training."""
        return {
            "progress/tokens_seen": self.progress.tokens_seen,
            "progress/train_flops": self.progress.train_flops,
            "progress/stream_hash": self.loader.stream_hash(self.progress.step),
            "time/training_s": self._stopwatch.seconds_at_lap,
        }

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
            batches = self.batches(self.progress.step)
        clip = self.config.optimizer.grad_clip
        statistics = self.window.statistics
        step = partial(train_step, self.model, self.optimizer, batches, phase, statistics, grad_clip=clip)
        if self.watch is None:
            return step(ranks=self.ranks, weights=self.weights)
        with self.watch.watching(self.progress.step + 1):
            return step(ranks=self.ranks, watch=self.watch)

    def _note(self, phase: Phase, result: StepResult) -> None:
        """Count the step and remember what the next record will say."""
        rows = self.loader.rows_of(self.progress.step)
        self.progress.step += 1
        self.progress.tokens_seen += rows.places
        self.progress.extra_passes += self._counting * rows.places
        if result.applied:
            self.window.add(result)
            self.progress.extra_passes += LEARNING * (rows.places - rows.targets)  # prompts and padding
            if result.market is not None:
                done = self.experiments.of_step(self.progress.step - 1, self.sequences)
                self.progress.extra_passes += self._audit_cost.of_step(done, rows.tokens.shape[1] - 1)
        else:
            self.progress.skipped_steps += 1
            log.warning("step %d: loss or gradient is not finite, step skipped; %s", self.progress.step, self._cause())
        if self.progress.skipped_steps > self.config.train.max_skipped_steps:
            raise TooManySkippedSteps(
                f"{self.progress.skipped_steps} steps skipped for a loss or gradient that is not finite, the last one "
                f"step {self.progress.step} in phase {phase.name}; train.max_skipped_steps allows "
                f"{self.config.train.max_skipped_steps}; {self._cause()}"
            )

    def _cause(self) -> str:
        return f"find the first tensor: python run.py resume={shown_path(self._run_folder)} diagnostics=nan"

    def _due(self, interval: int) -> bool:
        return self.progress.step % interval == 0 or self.progress.step == self.schedule.total_steps

    def _log(self, phase: Phase) -> None:
        """One record of the window since the last one; then a new window begins."""
        steps, seconds = self._stopwatch.lap(self.progress.step)
        tokens = self.progress.tokens_seen - self._tokens_at_lap
        self._tokens_at_lap = self.progress.tokens_seen
        window = self.window.record()
        self._count_flops(window)
        record = {
            **window,
            **self._phase_record(phase),
            **self.spent(),
            "progress/skipped_steps": self.progress.skipped_steps,
            "time/step": seconds / max(1, steps),
            "time/tokens_per_s": tokens / seconds,
        }
        self.tracker.log(self.progress.step, record)
        if (booked := self.window.booked()) is not None:
            self.tracker.book(self.progress.step, {"tokens_seen": self.progress.tokens_seen, **booked})
        shown = f"loss/{'preference' if phase.config.objective == 'preference' else 'language_model'}"
        loss, speed = record.get(shown, math.nan), record["time/tokens_per_s"]
        self.display.update(self.progress.step, loss=loss, tokens_per_s=speed, phase=phase.name)
        self.window.reset()

    def _count_flops(self, window: Mapping[str, Any]) -> None:
        """Add a log window's; a window of skipped steps alone counts none."""
        tokens, per_token = window.get("routing/tokens", 0.0), window.get("routing/flops_per_token", 0.0)
        self.progress.train_flops += training_flops(per_token, tokens, self.progress.extra_passes)
        self.progress.extra_passes = 0.0

    def _log_held_out(self) -> None:
        with self._stopwatch.left_out():
            record, reading = self.scores.so_far()
        self.tracker.log(self.progress.step, record)
        if reading is not None:
            with self._stopwatch.left_out():
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
