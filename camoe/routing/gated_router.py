"""What routers with a gate share: the gate, the noisy election, and the decision made of both."""

from __future__ import annotations

from torch import Tensor

from camoe.config.router import RouterConfig
from camoe.economy.auction import elect
from camoe.economy.calibrated.bid import base_of_bids
from camoe.economy.layer_quote import LayerQuote
from camoe.kernels import one_token
from camoe.routing.decision import RoutingDecision
from camoe.routing.election_terms import LayerTerms
from camoe.routing.gate import Gate
from camoe.routing.router import Router, mixture_weights


class GatedRouter(Router):
    """Holds the gate; subclasses say what is bid and what weighs the winners."""

    def __init__(self, config: RouterConfig, n_embd: int, n_expert: int) -> None:
        super().__init__()
        self.top_k, self.noise_std = config.top_k, config.noise_std
        self.gate = Gate(n_embd, n_expert, config.gate_hidden, config.gate_activation)

    def decide(
        self, gate_logits: Tensor, bias: Tensor, scores: Tensor, terms: LayerTerms, quote: LayerQuote | None = None
    ) -> RoutingDecision:
        """Elect by gate plus `bias` plus noise, weigh the winners by `scores`, all [B,T,E].

        Only `scores` carries a gradient. Noise moves the election and never a weight; the quote says in which space
        bids add up and how strong the noise is. The price is the (k+1)-th of the bids that elected, 0 when everybody
        wins.
        """
        base, noise_std = gate_logits.detach(), self.noise_std if quote is None else quote.noise_std(self.noise_std)
        if quote is not None:
            base = base_of_bids(base, quote.space)
        adjusted = base + bias
        elected_by = adjusted if terms.noise is None else adjusted + noise_std * terms.noise
        bids, first_choices = self.with_room(terms.admitted(elected_by), terms)
        winners, weights, price = self._elected(bids, scores)
        return RoutingDecision(
            experts=winners,
            weights=terms.weighed(weights),
            price=price,
            gate_logits=gate_logits,
            selection_bias=bias,
            adjusted_logits=adjusted,
            first_choices=first_choices,
        )

    def _elected(self, bids: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Winners and their weights [B,T,K], and the price [B,T], from bids and scores [B,T,E]."""
        if one_token.serves(bids, scores):
            return one_token.elect_token(bids, scores, self.top_k)
        winners, price = elect(bids, self.top_k, priced=self.top_k < bids.shape[-1])
        return winners, mixture_weights(scores, winners), price
