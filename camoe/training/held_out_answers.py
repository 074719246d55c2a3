"""Scores of held-out answers: bits per byte of dialogues' answers, accuracy on pairs of them."""

from __future__ import annotations

from collections.abc import Mapping

from camoe.data.answer_rows import AnswerRows, Numbers
from camoe.inference.answer_scores import AnswerScore
from camoe.kernels.ranks import Ranks
from camoe.model.language_model import LanguageModel
from camoe.training.reference_policy import PREFERENCES, ReferencePolicy
from camoe.training.training_text import AnswerText

SFT = "sft"


class HeldOutAnswers:
    """What a run's dialogue and preference phases are judged by; empty records for a run without them."""

    def __init__(
        self,
        texts: Mapping[str, AnswerText],
        reference: ReferencePolicy,
        byte_lengths: Numbers,
        batch_size: int,
        ranks: Ranks,
    ) -> None:
        self._rows: dict[str, AnswerRows] = {profile: text.held_out for profile, text in texts.items()}
        self._reference, self._byte_lengths, self._batch_size, self._ranks = reference, byte_lengths, batch_size, ranks

    def record(self, model: LanguageModel, room: str, at_most: int | None = None) -> dict[str, object]:
        """Metrics of rooms `room`_answers and `room`_preference; `at_most` rows evenly over each (None: all)."""
        rows = {name: part if at_most is None else part.spread(at_most) for name, part in self._rows.items()}
        record: dict[str, object] = {}
        if SFT in rows:
            score = AnswerScore.of(model, rows[SFT], self._byte_lengths, self._batch_size, self._ranks)
            record |= score.record(f"{room}_answers")
        if PREFERENCES in rows:
            outcome = self._reference.held_out(model, rows[PREFERENCES])
            if outcome is not None:
                means = {"loss": outcome.loss.mean(), **outcome.means()}
                record |= {f"{room}_preference/{name}": float(value) for name, value in means.items()}
        return record
