"""What training costs in arithmetic: forward FLOPs by who served, times what learning and audits add."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.model.cost import LEARNING, head_share
from camoe.model.language_model import LanguageModel
from camoe.training.experiments import StepExperiments
from camoe.training.window_load import counts_ahead


def training_flops(forward_per_token: float, tokens: float, extra_passes: float) -> float:
    """FLOPs of learning from `tokens`, and of what took `extra_passes` whole forward passes of a token beside it."""
    return forward_per_token * (LEARNING * tokens + extra_passes)


def counting_passes(model: LanguageModel, micro_batches: int, tokens: int) -> float:
    """Forward passes of a token that counting an optimiser step's load takes (see `load_of_window`), no head."""
    return tokens * (1 - head_share(model)) if counts_ahead(model.config.router, micro_batches) else 0.0


@dataclass(frozen=True)
class AuditCost:
    """Audits in whole forward passes of one token. head_share: the head's part of a forward pass, under an even load.

    passes: those of an audited token, from the audited layer through the head; 0 where nothing is audited.
    """

    n_layer: int
    head_share: float
    passes: int

    @classmethod
    def of(cls, model: LanguageModel) -> AuditCost:
        """The cost of the audits that the model's market asks for."""
        config, plan = model.config, model.market.audits
        passes = plan.passes(config.experts.total) if plan else 0
        return cls(config.model.n_layer, head_share(model), passes)

    def of_step(self, experiments: StepExperiments, ctx_len: int) -> float:
        """The audits of one optimiser step on sequences of `ctx_len` tokens."""
        layers_run = (self.n_layer - experiments.layer) / self.n_layer
        share = self.head_share + (1 - self.head_share) * layers_run
        return self.passes * len(experiments.audited) * ctx_len * share
