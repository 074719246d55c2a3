"""The election of each token's winners and the Vickrey price they pay. Pure functions.

Letters: B batch, T time, E experts, K winners per token.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from camoe.config import ConfigError
from camoe.economy.layer_quote import LayerQuote

LEAST_PURSE_RATIO, LARGEST_PURSE_RATIO = 0.1, 2.0


class Election(NamedTuple):
    """Winners in order of their bids, and the first losing bid."""

    winners: Tensor
    """[..., K] int64."""
    price: Tensor
    """[...], in units of the bids."""


def subsidy(quote: LayerQuote, affinity: Tensor) -> Tensor:
    """The critic's bid, [..., E]: bid_scale * affinity * clip(K/K0, 0.1, 2)."""
    purse = quote.purse_ratio.clamp(LEAST_PURSE_RATIO, LARGEST_PURSE_RATIO)
    return quote.bid_scale * affinity.detach() * purse


def effective_capital(quote: LayerQuote, difficulty: Tensor) -> Tensor:
    """c_e * (1 + difficulty_t), [..., E]: wealth counts for more on tokens that the critic finds hard."""
    return quote.capital_share * (1 + difficulty.detach().unsqueeze(-1))


def bid_bias(quote: LayerQuote, difficulty: Tensor, affinity: Tensor) -> Tensor:
    """What the market adds to the gate, [B,T,E], without gradient (economy A.1).

    alpha * (c_e * (1 + difficulty_t) + subsidy_te), from difficulty [B,T] and affinity [B,T,E].
    """
    return quote.alpha * (effective_capital(quote, difficulty) + subsidy(quote, affinity))


def market_bids(quote: LayerQuote, confidence: Tensor, difficulty: Tensor, affinity: Tensor) -> Tensor:
    """Bids of a market without a gate of its own, [B,T,E] (economy A.11, v18).

    confidence_te * c_e * (1 + difficulty_t) + subsidy_te; only the confidence carries a gradient.
    """
    return confidence * effective_capital(quote, difficulty) + subsidy(quote, affinity)


@torch.no_grad()
def elect(bids: Tensor, top_k: int, *, priced: bool = True) -> Election:
    """The `top_k` highest of bids [..., E] win; the price is the next bid (uniform-price Vickrey auction).

    Equal bids go to the lower index. With `priced=False` every expert may win, and the price is 0.
    Raises ConfigError when no runner-up is left to set the price.
    """
    n_expert = bids.shape[-1]
    if top_k + priced > n_expert:
        raise ConfigError(
            f"router.top_k: {top_k} winners among {n_expert} experts; at most {n_expert - priced}"
            + (" so that a runner-up sets the price" if priced else "")
        )
    ranked, order = torch.sort(bids, dim=-1, descending=True, stable=True)
    price = ranked[..., top_k] if priced else torch.zeros_like(ranked[..., 0])
    return Election(order[..., :top_k], price)
