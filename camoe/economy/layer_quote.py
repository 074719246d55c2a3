"""What the market tells one layer's router and critic before an election."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class LayerQuote(NamedTuple):
    """State of one layer's market, without gradient."""

    capital_share: Tensor
    """[E], each expert's share of the layer's capital."""
    alpha: Tensor
    """[], strength of the market in the election, gate-score units per share of capital."""
    purse_ratio: Tensor
    """[], the critic's purse K over its initial purse K0."""
    bid_scale: float
    """Bid per unit of affinity."""
