"""What routers share that learn whom to choose, without a market: a gate, its noise, an election, and its weights."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from camoe.config.learned_router import LearnedRouterConfig, NoisyGateConfig
from camoe.economy.auction import elect
from camoe.economy.critic import CriticOpinion
from camoe.kernels import one_token
from camoe.routing.decision import RoutingDecision
from camoe.routing.linear_gate import build_gate
from camoe.routing.logit_noise import noisy
from camoe.routing.router import Router, RoutingContext, mixture_weights


class LearnedRouter(Router):
    """Winners are the k largest bids(z) + b, weights come from the logits z alone.

    b is the layer's part of the balancing rule, 0 where there is none: it moves who wins and never a weight. Noise
    moves the selection, and the weights too only where the configuration says so.
    """

    def __init__(self, config: NoisyGateConfig, n_embd: int, n_expert: int) -> None:
        super().__init__()
        self.config, self.top_k = config, config.top_k
        self.gate = build_gate(config, n_embd, n_expert)

    def logits(self, h: Tensor, context: RoutingContext) -> Tensor:  # noqa: ARG002 (some look at the tokens too)
        """z [B,T,E], differentiable."""
        return self.gate(h)

    def bids(self, logits: Tensor) -> Tensor:
        """What experts bid, [B,T,E], before the balancing rule has its say: their logits."""
        return logits

    def training_bias(self, bids: Tensor) -> Tensor | None:  # noqa: ARG002 (for those that have one)
        """What training adds to the bids [B,T,E] of whole sequences, broadcast over them; None: nothing."""
        return None

    @abstractmethod
    def weigh(self, logits: Tensor, winners: Tensor) -> Tensor:
        """Mixture weights [B,T,K] of winners [B,T,K] from logits [B,T,E]."""

    def forward(self, h: Tensor, context: RoutingContext, opinion: CriticOpinion | None) -> RoutingDecision:
        """See Router."""
        del opinion
        logits, terms = self.logits(h, context), context.terms
        heard = noisy(logits, terms.noise, self.config.noise, self.config.noise_std)
        bids = self.bids(logits.detach())
        electing = bids if heard is logits else self.bids(heard.detach())
        bias = self.training_bias(terms.admitted(electing)) if terms.training else None
        bias = context.balance if bias is None else bias
        bias = torch.zeros_like(bids) if bias is None else bias.to(bids).expand_as(bids)
        weighed = heard if self.config.noise_target == "selection_and_weights" else logits
        offers, first_choices = self.with_room(terms.admitted(electing + bias), terms)
        winners, weights, price = self.elected(offers, weighed)
        return RoutingDecision(
            experts=winners,
            weights=terms.weighed(weights),
            price=price,
            gate_logits=logits,
            selection_bias=bias,
            adjusted_logits=bids + bias,
            first_choices=first_choices,
        )

    def elected(self, bids: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Winners and their weights [B,T,K], and the first losing bid [B,T], 0 when everybody wins."""
        winners, price = elect(bids, self.top_k, priced=self.top_k < bids.shape[-1])
        return winners, self.weigh(logits, winners), price


class ScoredRouter(LearnedRouter):
    """Weights are scores, softmax or sigmoid of the logits, over the winners or as they are."""

    config: LearnedRouterConfig

    def weigh(self, logits: Tensor, winners: Tensor) -> Tensor:
        """See LearnedRouter."""
        return weights_of(logits, winners, self.config.score, self.config.weights)

    def elected(self, bids: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See LearnedRouter."""
        common = self.config.score == "softmax" and self.config.weights == "renormalized"
        if common and one_token.serves(bids, logits):
            return one_token.elect_token(bids, logits, self.top_k)
        return super().elected(bids, logits)


def weights_of(logits: Tensor, winners: Tensor, score: str, rule: str) -> Tensor:
    """Mixture weights [B,T,K] of winners [B,T,K] by their scores, softmax or sigmoid of logits [B,T,E].

    One winner keeps its score under either rule: divided by itself it would be 1, and the router would never learn.
    """
    if score == "softmax" and rule == "renormalized":
        return mixture_weights(logits, winners)
    scores = torch.softmax(logits, -1) if score == "softmax" else torch.sigmoid(logits)
    won = scores.gather(-1, winners)
    return won / won.sum(-1, keepdim=True) if rule == "renormalized" and winners.shape[-1] > 1 else won
