"""Market-only router: confidence is multiplied by wealth, and the bids both elect and weigh."""

from __future__ import annotations

from torch import Tensor

from camoe.config.router import RouterConfig
from camoe.economy.auction import elect, market_bids
from camoe.economy.critic import CriticOpinion
from camoe.economy.layer_quote import LayerQuote
from camoe.routing.decision import RoutingDecision
from camoe.routing.gate import Gate
from camoe.routing.router import Router, mixture_weights


class MarketOnly(Router):
    """bids = confidence * c_e * (1 + difficulty) + subsidy (+ noise); weights = softmax of the winning bids.

    Noise moves the election, not the weights. While the market does not bid, confidence alone does. The gradient
    reaches the gate through the weights, scaled by the expert's share of capital. Source: CaMoE v18 and v20.
    """

    def __init__(self, config: RouterConfig, n_embd: int, n_expert: int) -> None:
        super().__init__()
        self.top_k, self.noise_std = config.top_k, config.noise_std
        self.gate = Gate(n_embd, n_expert, config.gate_hidden, config.gate_activation)

    def forward(
        self,
        h: Tensor,
        quote: LayerQuote | None,
        opinion: CriticOpinion | None,
        noise: Tensor | None,
    ) -> RoutingDecision:
        """See Router."""
        confidence = self.gate(h)
        bids = confidence
        if quote is not None and opinion is not None:
            bids = market_bids(quote, confidence, opinion.difficulty, opinion.affinity)
        elected_by = bids.detach() if noise is None else bids.detach() + self.noise_std * noise
        winners, price = elect(elected_by, self.top_k, priced=self.top_k < bids.shape[-1])
        return RoutingDecision(
            experts=winners,
            weights=mixture_weights(bids, winners),
            price=price,
            gate_logits=confidence,
            selection_bias=(bids - confidence).detach(),
            adjusted_logits=bids.detach(),
        )
