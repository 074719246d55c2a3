"""The election of each token's winners and the Vickrey price they pay. Pure functions.

Letters: E experts, K winners per token.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from camoe.config import ConfigError


class Election(NamedTuple):
    """Winners in order of their bids, and the first losing bid."""

    winners: Tensor
    """[..., K] int64."""
    price: Tensor
    """[...], in units of the bids."""


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
    ranked, order = torch.sort(bids.detach(), dim=-1, descending=True, stable=True)
    price = ranked[..., top_k] if priced else torch.zeros_like(ranked[..., 0])
    return Election(order[..., :top_k], price)
