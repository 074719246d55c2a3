"""(14) The price of compute mu: holds forward FLOPs per token at a budget."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.calibrated import ComputeConfig
from camoe.economy.calibrated.rates import quotient, rate
from camoe.economy.calibrated.state import CalibratedState


def flops_ratio(config: ComputeConfig, state: CalibratedState, served: Tensor, tokens: Tensor) -> Tensor:
    """F / B, [], from tokens served [L,E] of N tokens; B is `budget` times F under an even load."""
    even = state.n_layer * state.top_k * state.expert_flops.mean()
    return over_even(served, tokens, state.expert_flops, even, state.fixed_flops) / config.budget


def over_even(served: Tensor, tokens: Tensor, expert_flops: Tensor, even: Tensor, fixed: float) -> Tensor:
    """F over F under an even load, [], from tokens served [L,E] of N tokens.

    F = fixed + sum_le n_le FLOPs_e / N; under an even load the experts' part is `even` [], that of top_k mean experts
    in every layer. F is computed as that plus what the load deviates from it, so that as many experts that cost the
    same give exactly 1.
    """
    mean = expert_flops.mean()
    deviation = quotient((served * (expert_flops - mean)).sum(), tokens)
    more_winners = quotient(served.sum(), tokens) * mean - even
    return 1 + quotient(deviation + more_winners, fixed + even)


def updated(config: ComputeConfig, state: CalibratedState, ratio: Tensor, tokens: Tensor) -> Tensor:
    """mu <- max(0, mu + g r_N(H) (F/B - 1)), []; of kind `equal` without the maximum, so that F may not fall short."""
    if config.kind == "none":
        return state.compute_price
    least = 0.0 if config.kind == "budget" else -torch.inf
    return ascended(state.compute_price, config.gain * rate(tokens, config.half_life), ratio, least)


def ascended(price: Tensor, gain: Tensor | float, ratio: Tensor, least: float = 0.0) -> Tensor:
    """mu + gain (F/B - 1), at least `least`: dual ascent of the constraint F <= B, or F = B where nothing is least."""
    return (price + gain * (ratio - 1)).clamp(min=least)
