"""Expert choice: every expert takes the tokens it wants most. Not causal: an upper bound, no rival."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.learned_router import ExpertChoiceConfig
from camoe.economy.critic import CriticOpinion
from camoe.routing.capacity import places
from camoe.routing.decision import RoutingDecision
from camoe.routing.linear_gate import build_gate
from camoe.routing.router import Router, RoutingContext


class ExpertChoice(Router):
    """Expert e serves its C = ceil(c T k / E) tokens of a sequence with the largest S_te, with weight S = softmax_e(z).

    Source: Zhou et al. 2022 (arXiv 2202.09368); c = `choice_factor`. Whether a token is taken depends on those that
    follow it, in training and in evaluation: the model reads ahead (more than k log2((1 - R)/R) bits per token and
    layer with R = k/E, arXiv 2408.15664), so that its loss bounds what routing could reach and is nobody's rival.
    """

    def __init__(self, config: ExpertChoiceConfig, n_embd: int, n_expert: int) -> None:
        super().__init__()
        self.top_k, self.choice_factor = config.top_k, config.choice_factor
        self.gate = build_gate(config, n_embd, n_expert)

    def forward(self, h: Tensor, context: RoutingContext, opinion: CriticOpinion | None) -> RoutingDecision:
        """See Router; all E experts stand in the decision, those that took the token are active."""
        del opinion
        logits, terms = self.gate(h), context.terms
        scores, own = torch.softmax(logits, -1), logits.detach()
        wanted = torch.softmax(terms.admitted(own), -1)
        active, (time, n_expert) = torch.zeros_like(wanted, dtype=torch.bool), wanted.shape[-2:]
        seats = min(time, places(time, self.top_k, n_expert, self.choice_factor))
        taken = wanted.argsort(dim=1, descending=True, stable=True)[:, :seats]
        active.scatter_(1, taken, torch.ones_like(taken, dtype=torch.bool))
        experts = wanted.argsort(dim=-1, descending=True, stable=True)
        active = active.gather(-1, experts)
        return RoutingDecision(
            experts=experts,
            weights=terms.weighed(scores.gather(-1, experts) * active),
            price=torch.zeros_like(own[..., 0]),
            gate_logits=logits,
            selection_bias=torch.zeros_like(own),
            adjusted_logits=own,
            active=active,
        )
