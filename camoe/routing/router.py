"""The one interface of a router."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from camoe.economy.auction import elect
from camoe.economy.critic import CriticOpinion
from camoe.economy.layer_quote import LayerQuote
from camoe.routing.capacity import Capacity
from camoe.routing.decision import RoutingDecision
from camoe.routing.election_terms import NO_EXPERIMENT, LayerTerms


class RoutingContext(NamedTuple):
    """What a layer's election may depend on beside the hidden vectors.

    tokens: [B,T] int64 ids. position: [B,T] int64, how many tokens of the sequence came before, also in earlier calls.
    balance: what the layer's balancing rule has come to, see Balancer; None where the router has none.
    quote: capital shares, alpha and purse of the layer, None while the market does not bid.
    terms: training's noise and experiments; nothing in evaluation.
    """

    tokens: Tensor
    position: Tensor
    balance: Tensor | None = None
    quote: LayerQuote | None = None
    terms: LayerTerms = NO_EXPERIMENT.of_layer(0)


class Router(nn.Module, ABC):
    """Elects and weighs the winners of every token. It never runs an expert."""

    top_k: int
    capacity: Capacity | None = None
    """Training's limit to the load of an expert; set by `build_router`."""

    def with_room(self, bids: Tensor, terms: LayerTerms) -> tuple[Tensor, Tensor | None]:
        """Bids [B,T,E] with full experts below all others where tokens are rerouted, and who won [B,T,K] without that.

        None where nobody is rerouted.
        """
        if self.capacity is None or self.capacity.config.mode != "reroute" or not terms.training:
            return bids, None
        return self.capacity.with_room(bids), elect(bids, self.top_k, priced=False).winners

    @abstractmethod
    def forward(self, h: Tensor, context: RoutingContext, opinion: CriticOpinion | None) -> RoutingDecision:
        """Decide for hidden vectors h [B,T,C].

        opinion: the critic's view of the same tokens, None where there is no critic.
        """


def mixture_weights(scores: Tensor, winners: Tensor) -> Tensor:
    """Softmax of the scores [B,T,E] over the winners [B,T,K].

    With one winner that would be the constant 1 and the router would never learn, so K = 1 keeps the winner's
    probability among all experts instead (Switch Transformers, Fedus et al. 2021, eq. 2).
    """
    if winners.shape[-1] == 1:
        return torch.softmax(scores, dim=-1).gather(-1, winners)
    return torch.softmax(scores.gather(-1, winners), dim=-1)
