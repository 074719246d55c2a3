"""Routing by the token's id, which the gate may override."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from camoe.config.learned_router import ModuloPriorConfig
from camoe.economy.critic import CriticOpinion
from camoe.routing.decision import RoutingDecision
from camoe.routing.learned_router import ScoredRouter
from camoe.routing.router import RoutingContext


class ModuloPrior(ScoredRouter):
    """w = softmax(s onehot(base) + log p), p = softmax(z), base = token id mod E, s = router.prior_strength.

    log p differs from z by a number that all experts share, so w = softmax(s onehot(base) + z), which is what is
    computed: no logarithm of a vanishing p. These logits stand for the gate's in election, losses and statistics. The k
    with the largest win and are weighed as `topk` weighs them; with k = E that is w itself, as published.
    Source: Complexity MoE, hybrid prior, s = 10.
    """

    def __init__(self, config: ModuloPriorConfig, n_embd: int, n_expert: int) -> None:
        super().__init__(config, n_embd, n_expert)
        self.prior_strength, self.n_expert = config.prior_strength, n_expert

    def logits(self, h: Tensor, context: RoutingContext) -> Tensor:
        """Those of the gate plus the prior, [B,T,E]."""
        logits = self.gate(h)
        return logits + self.prior_strength * F.one_hot(self._base(context), self.n_expert).to(logits)

    def forward(self, h: Tensor, context: RoutingContext, opinion: CriticOpinion | None) -> RoutingDecision:
        """See Router."""
        return replace(super().forward(h, context, opinion), base=self._base(context))

    def _base(self, context: RoutingContext) -> Tensor:
        return context.tokens % self.n_expert
