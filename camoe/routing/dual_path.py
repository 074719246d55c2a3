"""Dual-path router: gate and market elect the winners together, the gate alone weighs them."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.router import RouterConfig
from camoe.economy.auction import bid_bias, elect
from camoe.economy.critic import CriticOpinion
from camoe.economy.layer_quote import LayerQuote
from camoe.routing.decision import RoutingDecision
from camoe.routing.gate import Gate
from camoe.routing.router import Router, mixture_weights


class DualPath(Router):
    """bids = gate + market bias (+ noise); winners = top-k of the bids; weights = softmax of the gate over them.

    The price is the (k+1)-th of the bids that elected. The market's part is detached: it moves who wins, never a
    gradient, so the language-model loss reaches the gate whether the market bids or not. Source: CaMoE v21.1.
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
        gate_logits = self.gate(h)
        bias = torch.zeros_like(gate_logits)
        if quote is not None and opinion is not None:
            bias = bid_bias(quote, opinion.difficulty, opinion.affinity).detach()
        adjusted = gate_logits.detach() + bias
        bids = adjusted if noise is None else adjusted + self.noise_std * noise
        winners, price = elect(bids, self.top_k, priced=self.top_k < bids.shape[-1])
        return RoutingDecision(
            experts=winners,
            weights=mixture_weights(gate_logits, winners),
            price=price,
            gate_logits=gate_logits,
            selection_bias=bias,
            adjusted_logits=adjusted,
        )
