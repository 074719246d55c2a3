"""Controls whose wealth means nothing, while everything else goes on as in the market."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.calibrated import PlaceboConfig
from camoe.economy.calibrated.state import CalibratedState

ODD = (-7046029254386353131, -4658895280553007687, -7723592293110705685)  # constants of SplitMix64, as signed numbers


def begun(config: PlaceboConfig, state: CalibratedState) -> Tensor:
    """[] bool, whether enough tokens have been settled."""
    return state.tokens_settled >= config.after_tokens


def quoted_share(config: PlaceboConfig, state: CalibratedState) -> Tensor:
    """Shares of wealth [L,E] as elections see them: "shuffled" permutes each layer's anew after every settlement.

    The books stay as they are: the placebo's bids have the same spread as the market's, and its accounts stay sane.
    """
    share = state.capital_share()
    if config.kind != "shuffled":
        return share
    order = _keys(state).argsort(dim=-1)
    return torch.where(begun(config, state), share.gather(-1, order), share)


def applied(config: PlaceboConfig, state: CalibratedState) -> Tensor:
    """[], the factor on wealth and subsidies in bids: 0 in the shadow, else 1."""
    hidden = (
        begun(config, state) if config.kind == "shadow" else torch.zeros_like(state.tokens_settled, dtype=torch.bool)
    )
    return 1 - hidden.double()


def _keys(state: CalibratedState) -> Tensor:
    """Pseudo-random [L,E] int64, a function of the number of settlements, so that no generator needs to be saved."""
    cells = torch.arange(state.capital.numel(), device=state.capital.device).view_as(state.capital)
    key = (state.settlements * state.capital.numel() + cells + 1) * ODD[0]
    for shift, factor in ((30, ODD[1]), (27, ODD[2])):
        key = (key ^ (key >> shift)) * factor
    return key ^ (key >> 31)
