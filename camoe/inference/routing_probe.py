"""A fixed set of held-out tokens whose winners and losses are noted at every evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camoe.data.evaluation_windows import EvaluationWindows
from camoe.inference.evaluation import Evaluation

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class RoutingProbe:
    """The N targets of some of the windows that an evaluation scores anyway, so that noting them costs no forward pass.

    The same for all runs of the same held-out text, context length and size of the evaluation, whatever their seeds.
    """

    sample: EvaluationWindows
    windows: EvaluationWindows

    @classmethod
    def within(cls, sample: EvaluationWindows, tokens: int) -> RoutingProbe:
        """At most `tokens` of a sample's targets, as whole windows spread over it, at least one."""
        return cls(sample, sample.spread(max(1, tokens // sample.ctx_len)))

    def text(self) -> Arrays:
        """What is read and predicted, each [N]: ids of input and target, document, and how often the input's id occurs
        in all of the held-out text."""
        windows, places = self.windows, self.windows.target_places
        occurrences = np.bincount(windows.tokens, minlength=len(windows.byte_lengths))
        inputs = windows.tokens[places - 1].astype(np.int32)
        return {
            "input": inputs,
            "target": windows.tokens[places].astype(np.int32),
            "document": (np.searchsorted(windows.document_starts, places, side="right") - 1).astype(np.int32),
            "occurrences": occurrences[inputs],
        }

    def reading(self, evaluation: Evaluation) -> Arrays:
        """What an evaluation of the sample found: winners [L,N,K] in falling order of their bids, nats [N]."""
        assert evaluation.winners is not None, "the evaluation keeps its winners"
        where = np.searchsorted(self.sample.target_places, self.windows.target_places)
        return {"winners": evaluation.winners[:, where], "nats": evaluation.token_nats[where]}
