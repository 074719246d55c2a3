"""Direct preference optimisation: what is minimised on pairs of answers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Preferences:
    """The pairs of a batch, whose rows are chosen, rejected, chosen, rejected, ...

    reference: [P,2] log-probabilities of the answers under the reference policy, nats. beta: DPO's. share: of the
    optimiser step's pairs, those of this batch.
    """

    reference: Tensor
    beta: float
    share: float = 1.0

    def of_rows(self, part: slice) -> Preferences:
        """Those of an even number of the batch's rows."""
        pairs = slice(part.start // 2, part.stop // 2)
        share = (pairs.stop - pairs.start) / len(self.reference)
        return Preferences(self.reference[pairs], self.beta, self.share * share)


@dataclass(frozen=True)
class PreferenceOutcome:
    """Of P pairs. loss: [P] nats, differentiable. margin: [P] reward of the chosen answer minus that of the rejected.

    log_probs: [P,2] of the policy, nats.
    """

    loss: Tensor
    margin: Tensor
    log_probs: Tensor

    def means(self) -> dict[str, Tensor]:
        """Detached means over the pairs, under the names of metric_definitions; a margin of 0 is half a success."""
        margin, chosen_and_rejected = self.margin.detach(), self.log_probs.detach().mean(0)
        return {
            "accuracy": ((margin.sign() + 1) / 2).mean(),
            "margin": margin.mean(),
            "chosen_log_prob": chosen_and_rejected[0],
            "rejected_log_prob": chosen_and_rejected[1],
        }


def preference_outcome(log_probs: Tensor, reference: Tensor, beta: float) -> PreferenceOutcome:
    """DPO (Rafailov et al. 2023, eq. 7) from log-probabilities [P,2] of (chosen, rejected) answers.

    margin = beta ((log pi(chosen) - log pi_ref(chosen)) - (log pi(rejected) - log pi_ref(rejected)))
    loss = -log sigmoid(margin)
    """
    rewards = beta * (log_probs - reference.to(log_probs))
    margin = rewards[:, 0] - rewards[:, 1]
    return PreferenceOutcome(-functional.logsigmoid(margin), margin, log_probs)
