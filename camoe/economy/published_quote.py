"""Bids of the published economies. Letters: B batch, T time, E experts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from camoe.economy.critic import CriticOpinion

LEAST_PURSE_RATIO, LARGEST_PURSE_RATIO = 0.1, 2.0


class PublishedQuote(NamedTuple):
    """Quote of v21 and v18 (see LayerQuote), without gradient."""

    capital_share: Tensor
    """[E], each expert's share of the layer's capital."""
    alpha: Tensor
    """[], strength of the market in the election, gate-score units per share of capital."""
    purse_ratio: Tensor
    """[], the critic's purse K over its initial purse K0."""
    bid_scale: float
    """Bid per unit of affinity."""

    @property
    def space(self) -> str:
        """Published bids add to whatever the gate puts out."""
        return "logits"

    def bias(self, gate_logits: Tensor, opinion: CriticOpinion | None) -> Tensor:
        """`bid_bias`; zero without a critic."""
        if opinion is None:
            return torch.zeros_like(gate_logits)
        return bid_bias(self, opinion.difficulty, opinion.affinity).detach()

    def toll(self) -> Tensor:
        """Nothing, [E]."""
        return torch.zeros_like(self.capital_share)

    def noise_std(self, default: float) -> Tensor | float:
        """The router's own."""
        return default


def subsidy(quote: PublishedQuote, affinity: Tensor) -> Tensor:
    """The critic's bid, [..., E]: bid_scale * affinity * clip(K/K0, 0.1, 2)."""
    purse = quote.purse_ratio.clamp(LEAST_PURSE_RATIO, LARGEST_PURSE_RATIO)
    return quote.bid_scale * affinity.detach() * purse


def effective_capital(quote: PublishedQuote, difficulty: Tensor) -> Tensor:
    """c_e * (1 + difficulty_t), [..., E]: wealth counts for more on tokens that the critic finds hard."""
    return quote.capital_share * (1 + difficulty.detach().unsqueeze(-1))


def bid_bias(quote: PublishedQuote, difficulty: Tensor, affinity: Tensor) -> Tensor:
    """What the market adds to the gate, [B,T,E], without gradient (economy A.1).

    alpha * (c_e * (1 + difficulty_t) + subsidy_te), from difficulty [B,T] and affinity [B,T,E].
    """
    return quote.alpha * (effective_capital(quote, difficulty) + subsidy(quote, affinity))


def market_bids(quote: PublishedQuote, confidence: Tensor, difficulty: Tensor, affinity: Tensor) -> Tensor:
    """Bids of a market without a gate of its own, [B,T,E] (economy A.11, v18).

    confidence_te * c_e * (1 + difficulty_t) + subsidy_te; only the confidence carries a gradient.
    """
    return confidence * effective_capital(quote, difficulty) + subsidy(quote, affinity)
