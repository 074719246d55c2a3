"""The reference policy of preference phases: what the weights at a phase's start said of every pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from camoe.data.answer_rows import AnswerRows
from camoe.inference.answer_scores import answer_log_probs
from camoe.kernels.ranks import Ranks
from camoe.model.language_model import LanguageModel
from camoe.training.phases import PhaseSchedule
from camoe.training.preference import PreferenceOutcome, preference_outcome
from camoe.training.training_text import AnswerText

PREFERENCES = "preferences"


class ReferencePolicy:
    """A frozen policy says the same of a pair at every step, so its log-probabilities are computed once and kept.

    They travel in checkpoints: no second model is held, and a resumed run has the very reference. They come from a
    pass without gradient, noise or settlement, under the market as the phase begins with it.
    """

    def __init__(self, schedule: PhaseSchedule, text: AnswerText | None, batch_size: int, ranks: Ranks) -> None:
        """`text`: the pairs, None for a run without such phases."""
        self._schedule, self._text, self._batch_size, self._ranks = schedule, text, batch_size, ranks
        self._held: dict[str, Tensor] = {}
        self._first = -1

    def enter(self, model: LanguageModel, step: int) -> float:
        """Before a step: where a preference phase begins, make the model its reference. Tokens read for it."""
        phase = self._schedule.at(step)
        if self._text is None or phase.config.data_profile != PREFERENCES or self._first == phase.first:
            return 0.0
        before = self._schedule.steps_on(PREFERENCES, phase.first)
        items = np.unique([self._text.loader.items(before + done) for done in range(phase.end - phase.first)])
        train = replace(self._text.loader.rows, only=items)
        self._first = phase.first
        self._held = {
            "items": torch.from_numpy(items),
            "train": answer_log_probs(model, train, self._batch_size, self._ranks),
            "valid": answer_log_probs(model, self._text.held_out, self._batch_size, self._ranks),
        }
        return float(train.places(self._batch_size))

    def of_items(self, items: np.ndarray) -> Tensor:
        """[P,2] log-probabilities of pairs of the present phase, on the CPU."""
        return self._held["train"][torch.searchsorted(self._held["items"], torch.from_numpy(items))]

    def held_out(self, model: LanguageModel, rows: AnswerRows) -> PreferenceOutcome | None:
        """The held-out pairs `rows` under the model as it is; None before the first preference phase."""
        if self._text is None or not self._held:
            return None
        places = np.searchsorted(self._text.held_out.items, rows.items)
        log_probs = answer_log_probs(model, rows, self._batch_size, self._ranks)
        beta = self._schedule.at(self._first).config.preference_beta
        return preference_outcome(log_probs, self._held["valid"][torch.from_numpy(places)], beta)

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint; empty before the first preference phase."""
        return {**self._held, "first": torch.tensor(self._first)} if self._held else {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state()`."""
        self._held = {name: value for name, value in state.items() if name != "first"}
        self._first = int(state["first"]) if state else -1
