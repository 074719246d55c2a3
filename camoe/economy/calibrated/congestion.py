"""(13) The congestion price lambda: crowded experts cost more, until the market clears at the target load.

lambda is kept in units of the bid (`CalibratedState.bid_unit`) and has mean 0 over experts, which no election notices.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from camoe.config.calibrated import CongestionConfig
from camoe.economy.calibrated.rates import quotient, rate
from camoe.economy.calibrated.state import CalibratedState


def target_weights(config: CongestionConfig, kappa: Tensor) -> Tensor:
    """As kappa, proportional to the load q_e aimed at: 1, or 1 / kappa_e so that experts cost the same in all."""
    return 1 / kappa if config.target == "inverse_cost" else torch.ones_like(kappa)


def excess_load(served: Tensor, weights: Tensor) -> Tensor:
    """f_e / q_e - 1, [L,E], from tokens served [L,E]; 0 where nothing was."""
    total = served.sum(-1, keepdim=True)
    return torch.where(total > 0, quotient(served * weights.sum(-1, keepdim=True), total * weights) - 1, 0)


def side_of_target(served: Tensor, weights: Tensor) -> Tensor:
    """sign(n_e - mean(n)), [L,E]: 1 where more tokens were served than the load aimed at, -1 where fewer.

    Of whole numbers, so that a load exactly on target has sign 0. DeepSeek (arXiv 2408.15664), algorithm 1.
    """
    return (served * weights.sum(-1, keepdim=True) - served.sum(-1, keepdim=True) * weights).sign()


def update(
    config: CongestionConfig,
    state: CalibratedState,
    served: Tensor,
    tokens: Tensor,
    bids: Sequence[Tensor],
    charged: Tensor,
) -> None:
    """Move lambda by the window's load [L,E]; `bids` as in `CalibratedWindow`, `charged`: the toll [L,E] then."""
    if config.kind == "none":
        return
    weights = target_weights(config, state.kappa())
    error = excess_load(served, weights)
    step = config.gain * rate(tokens, config.half_life) * error
    if config.kind == "sign":
        price = state.congestion + config.step * side_of_target(served, weights)
    elif config.kind == "proportional":
        price = (state.congestion + step).clamp(-config.largest, config.largest)
    elif config.kind == "pid":
        state.congestion_integral.add_(step).clamp_(-config.largest, config.largest)
        change = error - state.congestion_error
        price = state.congestion_integral + config.proportional * error + config.derivative * change
        price = price.clamp(-config.largest, config.largest)
        state.congestion_error.copy_(error)
    else:
        exact = balancing_price(torch.cat(list(bids), dim=1), charged, weights, state.top_k)
        price = quotient(exact, state.bid_unit().unsqueeze(-1))
    state.congestion.copy_(price - price.mean(-1, keepdim=True))


def balancing_price(bids: Tensor, price: Tensor, weights: Tensor, top_k: int) -> Tensor:
    """lambda_e [L,E], in bids: one exact coordinate step of quantile balancing from `price` [L,E].

    bids: [L,N,E] without lambda, -inf at padding. A token's threshold is its (k+1)-th largest bid less `price`;
    lambda_e is the (N k q_e + 1)-th largest over tokens of what expert e bids beyond it, so that N k q_e would win.
    """
    real = bids[..., :1] > -torch.inf
    threshold = (bids - price.unsqueeze(1)).topk(top_k + 1, dim=-1).values[..., -1:]
    beyond = torch.where(real, bids - torch.where(real, threshold, 0), -torch.inf)
    seats = real.sum(1) * top_k * weights / weights.sum(-1, keepdim=True)
    last = torch.minimum(seats.floor(), (real.sum(1) - 1).clamp(min=0)).long()
    found = beyond.sort(dim=1, descending=True).values.gather(1, last.unsqueeze(1)).squeeze(1)
    return torch.where(found > -torch.inf, found, price)
