"""What routers share that learn whom to choose, without a market: a gate, its noise, an election, and its weights."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.learned_router import LearnedRouterConfig
from camoe.economy.auction import elect
from camoe.economy.critic import CriticOpinion
from camoe.kernels import one_token
from camoe.routing.decision import RoutingDecision
from camoe.routing.linear_gate import build_gate
from camoe.routing.logit_noise import noisy
from camoe.routing.router import Router, RoutingContext, mixture_weights


class LearnedRouter(Router):
    """Winners are the k largest bids(z) + b, weights come from the scores of the logits z alone.

    b is the layer's part of the balancing rule, 0 where there is none: it moves who wins and never a weight. Noise
    moves the selection, and the weights too only where the configuration says so.
    """

    def __init__(self, config: LearnedRouterConfig, n_embd: int, n_expert: int) -> None:
        super().__init__()
        self.config, self.top_k = config, config.top_k
        self.gate = build_gate(config, n_embd, n_expert)

    def bids(self, logits: Tensor) -> Tensor:
        """What experts bid, [B,T,E], before the balancing rule has its say: their logits."""
        return logits

    def forward(self, h: Tensor, context: RoutingContext, opinion: CriticOpinion | None) -> RoutingDecision:
        """See Router."""
        del opinion
        logits, terms = self.gate(h), context.terms
        bias = torch.zeros_like(logits) if context.balance is None else context.balance.to(logits).expand_as(logits)
        heard = noisy(logits, terms.noise, self.config.noise, self.config.noise_std)
        adjusted = (self.bids(logits.detach()) + bias).detach()
        electing = adjusted if heard is logits else self.bids(heard.detach()) + bias
        weighed = heard if self.config.noise_target == "selection_and_weights" else logits
        bids, first_choices = self.with_room(terms.admitted(electing), terms)
        winners, weights, price = self._elected(bids, weighed)
        return RoutingDecision(
            experts=winners,
            weights=terms.weighed(weights),
            price=price,
            gate_logits=logits,
            selection_bias=bias,
            adjusted_logits=adjusted,
            first_choices=first_choices,
        )

    def _elected(self, bids: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Winners and their weights [B,T,K], and the first losing bid [B,T], 0 when everybody wins."""
        common = self.config.score == "softmax" and self.config.weights == "renormalized"
        if common and one_token.serves(bids, logits):
            return one_token.elect_token(bids, logits, self.top_k)
        winners, price = elect(bids, self.top_k, priced=self.top_k < bids.shape[-1])
        return winners, weights_of(logits, winners, self.config.score, self.config.weights), price


def weights_of(logits: Tensor, winners: Tensor, score: str, rule: str) -> Tensor:
    """Mixture weights [B,T,K] of winners [B,T,K] by their scores, softmax or sigmoid of logits [B,T,E].

    One winner keeps its score under either rule: divided by itself it would be 1, and the router would never learn.
    """
    if score == "softmax" and rule == "renormalized":
        return mixture_weights(logits, winners)
    scores = torch.softmax(logits, -1) if score == "softmax" else torch.sigmoid(logits)
    won = scores.gather(-1, winners)
    return won / won.sum(-1, keepdim=True) if rule == "renormalized" and winners.shape[-1] > 1 else won
