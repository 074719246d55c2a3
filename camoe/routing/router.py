"""The one interface of a router."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from camoe.economy.critic import CriticOpinion
from camoe.economy.layer_quote import LayerQuote
from camoe.routing.decision import RoutingDecision
from camoe.routing.election_terms import LayerTerms


class Router(nn.Module, ABC):
    """Elects and weighs the winners of every token. It never runs an expert."""

    top_k: int

    @abstractmethod
    def forward(
        self,
        h: Tensor,
        quote: LayerQuote | None,
        opinion: CriticOpinion | None,
        terms: LayerTerms,
    ) -> RoutingDecision:
        """Decide for hidden vectors h [B,T,C].

        quote: capital shares, alpha and purse of the layer, None while the market does not bid.
        opinion: the critic's view of the same tokens, None where there is no critic.
        terms: training's noise and experiments; nothing in evaluation.
        """


def mixture_weights(scores: Tensor, winners: Tensor) -> Tensor:
    """Softmax of the scores [B,T,E] over the winners [B,T,K].

    With one winner that would be the constant 1 and the router would never learn, so K = 1 keeps the winner's
    probability among all experts instead (Switch Transformers, Fedus et al. 2021, eq. 2).
    """
    if winners.shape[-1] == 1:
        return torch.softmax(scores, dim=-1).gather(-1, winners)
    return torch.softmax(scores.gather(-1, winners), dim=-1)
