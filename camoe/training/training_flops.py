"""What training costs in arithmetic: forward FLOPs by who served, times what learning and audits add."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.model.cost import model_cost, room_costs
from camoe.model.language_model import LanguageModel
from camoe.training.experiments import StepExperiments
from camoe.training.window_load import counts_ahead

LEARNING = 3
"""Forward passes that a training token costs: its own, and a backward of two, for inputs and for weights (Kaplan et al.
2020, section 2.1). Computing again to save memory is not counted; what is frozen counts as if it learned."""

AUDIT_PASSES = {"replacement": 1, "midpoint": 2}
"""Passes from the audited layer on that an audited token costs; "leave_one_out" takes one for every expert."""


def training_flops(forward_per_token: float, tokens: float, extra_passes: float) -> float:
    """FLOPs of learning from `tokens`, and of what took `extra_passes` whole forward passes of a token beside it."""
    return forward_per_token * (LEARNING * tokens + extra_passes)


def counting_passes(model: LanguageModel, micro_batches: int, tokens: int) -> float:
    """Forward passes of a token that counting an optimiser step's load takes (see `load_of_window`), no head."""
    return tokens * (1 - _head_share(model)) if counts_ahead(model.config.router, micro_batches) else 0.0


def _head_share(model: LanguageModel) -> float:
    """The head's part of a forward pass, under an even load."""
    whole = model_cost(model).flops_per_token(model.config.model.n_layer, model.config.router.top_k)
    return room_costs(model)["head_loss"].flops / whole


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
        passes = AUDIT_PASSES.get(plan.kind, config.experts.total) if plan else 0
        return cls(config.model.n_layer, _head_share(model), passes)

    def of_step(self, experiments: StepExperiments, ctx_len: int) -> float:
        """The audits of one optimiser step on sequences of `ctx_len` tokens."""
        layers_run = (self.n_layer - experiments.layer) / self.n_layer
        share = self.head_share + (1 - self.head_share) * layers_run
        return self.passes * len(experiments.audited) * ctx_len * share
