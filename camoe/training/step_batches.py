"""The micro-batches of any step: tokens, router noise, experiments, and what the reference policy says of pairs."""

from __future__ import annotations

import torch

from camoe.config import RunConfig
from camoe.data.step_rows import StepRows
from camoe.model.language_model import LanguageModel
from camoe.training.batch_share import BatchShare
from camoe.training.experiments import Experiments, StepExperiments
from camoe.training.micro_batch import MicroBatch, micro_batches
from camoe.training.objectives import Batch
from camoe.training.phases import PhaseSchedule
from camoe.training.preference import Preferences
from camoe.training.reference_policy import ReferencePolicy
from camoe.training.router_noise import RouterNoise
from camoe.training.step_reader import StepReader

CHECK_LEN = 32  # tokens per sequence of the self-check


class StepBatches:
    """This rank's share of every optimiser step, a pure function of the step."""

    def __init__(
        self,
        config: RunConfig,
        model: LanguageModel,
        schedule: PhaseSchedule,
        reader: StepReader,
        reference: ReferencePolicy,
        share: BatchShare,
    ) -> None:
        self._schedule, self._reader, self._reference, self._parts = schedule, reader, reference, share.parts
        self._device = model.emb.weight.device
        self._sequences = config.train.micro_batch * config.train.grad_accum
        self._noise = RouterNoise(config.seeds.router_noise, config.model.n_layer, model.config.experts.total)
        self._experiments = Experiments(config.seeds.router_noise, model.market, config.experts.total)

    def of_step(self, step: int) -> list[MicroBatch]:
        """The micro-batches of one step, on the model's device."""
        rows = self._reader.rows_of(step)
        window = torch.from_numpy(rows.tokens).to(self._device)
        learned = None if rows.learned is None else torch.from_numpy(rows.learned).to(self._device)
        noise = self._noise.of_step(step, self._sequences, window.shape[1] - 1).to(self._device)
        experiments, preferences = self.experiments(step), self._preferences(step, rows)
        return list(micro_batches(window, noise, experiments, self._parts, learned, preferences))

    def experiments(self, step: int) -> StepExperiments:
        """The sequences of one step, of all ranks, that are held out of the market or audited."""
        return self._experiments.of_step(step, self._sequences)

    def to_check(self) -> Batch:
        """A short batch of the first step's tokens, for the start-up self-check."""
        window = torch.from_numpy(self._reader.rows_of(0).tokens[self._parts[0]]).to(self._device)
        return Batch(window[:2, :-1][:, :CHECK_LEN], window[:2, 1:][:, :CHECK_LEN])

    def _preferences(self, step: int, rows: StepRows) -> Preferences | None:
        """What the reference policy says of the step's pairs; None where it reads none."""
        phase = self._schedule.at(step).config
        if phase.objective != "preference":
            return None
        assert rows.items is not None
        return Preferences(self._reference.of_items(rows.items).to(self._device), phase.preference_beta)
