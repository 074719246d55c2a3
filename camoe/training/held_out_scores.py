"""What a run scores of its held-out data: text, under raw and averaged weights, and answers."""

from __future__ import annotations

from camoe.config import RunConfig
from camoe.data.evaluation_windows import EvaluationWindows
from camoe.inference.evaluation import Evaluation, evaluate
from camoe.inference.routing_probe import Arrays, RoutingProbe
from camoe.kernels.ranks import Ranks
from camoe.model.language_model import LanguageModel
from camoe.tracking.routing_statistics import routing_statistics_of
from camoe.training.held_out_answers import HeldOutAnswers
from camoe.training.reference_policy import ReferencePolicy
from camoe.training.training_text import TrainingText
from camoe.training.weight_average import WeightAverage


class HeldOutScores:
    """Scores the model as it stands; nothing of the run changes, and every rank gets the same.

    sample: the windows scored during training. probe: those whose winners are noted then, None for none.
    """

    def __init__(
        self,
        config: RunConfig,
        model: LanguageModel,
        text: TrainingText,
        reference: ReferencePolicy,
        average: WeightAverage,
        ranks: Ranks,
    ) -> None:
        self._model, self._average, self._ranks = model, average, ranks
        self._batch_size, self._rows = config.train.micro_batch, config.train.eval_sequences
        self._answers = HeldOutAnswers(text.answers, reference, text.held_out.byte_lengths, self._batch_size, ranks)
        self.sample = text.held_out.spread(config.train.eval_sequences)
        wanted = config.tracking.probe_tokens
        self.probe = RoutingProbe.within(self.sample, wanted) if wanted else None

    def of_text(self, windows: EvaluationWindows, *, keep_winners: bool = False) -> Evaluation:
        """Score some windows of the held-out text."""
        statistics = routing_statistics_of(self._model)
        return evaluate(self._model, windows, self._batch_size, statistics, self._ranks, keep_winners=keep_winners)

    def averaged(self, windows: EvaluationWindows) -> Evaluation | None:
        """The same with averaged weights, and the market as the run has it; None before the average begins."""
        if not self._average.weights:
            return None
        with self._average.in_place(self._model):
            return self.of_text(windows)

    def of_answers(self, room: str, at_most: int | None = None) -> dict[str, object]:
        """Metrics of held-out answers, of `at_most` rows evenly over each data set; nothing where there are none."""
        return self._answers.record(self._model, room, at_most)

    def so_far(self) -> tuple[dict[str, object], Arrays | None]:
        """The record of an evaluation during training, and what the probe reads in it."""
        result = self.of_text(self.sample, keep_winners=self.probe is not None)
        averaged = self.averaged(self.sample)
        more = averaged.record("valid_averaged") if averaged else {}
        record = {**result.record("valid"), **more, **self.of_answers("valid", self._rows)}
        return record, self.probe.reading(result) if self.probe is not None else None
