"""(14) The price of compute mu: holds forward FLOPs per token at a budget."""

from __future__ import annotations

from torch import Tensor

from camoe.config.calibrated import ComputeConfig
from camoe.economy.calibrated.rates import quotient, rate
from camoe.economy.calibrated.state import CalibratedState


def flops_ratio(config: ComputeConfig, state: CalibratedState, served: Tensor, tokens: Tensor) -> Tensor:
    """F / B, [], from tokens served [L,E] of N tokens.

    F = fixed + sum_le n_le FLOPs_e / N; B is `budget` times F under an even load. F is computed as that plus what the
    load deviates from it, so that experts that cost the same give exactly F / B = 1 / budget.
    """
    mean = state.expert_flops.mean()
    even = state.fixed_flops + state.n_layer * state.top_k * mean
    deviation = quotient((served * (state.expert_flops - mean)).sum(), tokens)
    return (1 + quotient(deviation, even)) / config.budget


def updated(config: ComputeConfig, state: CalibratedState, ratio: Tensor, tokens: Tensor) -> Tensor:
    """mu <- max(0, mu + g r_N(H) (F/B - 1)), []."""
    if config.kind == "none":
        return state.compute_price
    step = config.gain * rate(tokens, config.half_life) * (ratio - 1)
    return (state.compute_price + step).clamp(min=0)
