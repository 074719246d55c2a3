"""Market-only router: confidence is multiplied by wealth, and the bids both elect and weigh."""

from __future__ import annotations

from torch import Tensor

from camoe.economy.critic import CriticOpinion
from camoe.economy.published_quote import PublishedQuote, market_bids
from camoe.routing.decision import RoutingDecision
from camoe.routing.gated_router import GatedRouter
from camoe.routing.router import RoutingContext


class MarketOnly(GatedRouter):
    """bids = confidence * c_e * (1 + difficulty) + subsidy (+ noise); weights = softmax of the winning bids.

    While the market does not bid, confidence alone does. The gradient reaches the gate through the weights, scaled by
    the expert's share of capital. Source: CaMoE v18 and v20.
    """

    def forward(self, h: Tensor, context: RoutingContext, opinion: CriticOpinion | None) -> RoutingDecision:
        """See Router."""
        quote, terms = context.quote, context.terms
        confidence = bids = self.gate(h)
        if isinstance(quote, PublishedQuote) and opinion is not None:
            bids = market_bids(quote, confidence, opinion.difficulty, opinion.affinity)
        return self.decide(confidence, (bids - confidence).detach(), scores=bids, terms=terms)
