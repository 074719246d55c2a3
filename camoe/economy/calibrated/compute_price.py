"""(14) The price of compute mu: holds forward FLOPs per token at a budget."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.calibrated import ComputeConfig
from camoe.economy.calibrated.rates import quotient, rate
from camoe.economy.calibrated.state import CalibratedState


def flops_ratio(config: ComputeConfig, state: CalibratedState, served: Tensor, tokens: Tensor) -> Tensor:
    """F / B, [], from tokens served [L,E] of N tokens; B is `budget` times F under an even load."""
    return over_even(served, tokens, state.expert_flops, even_flops(state), state.fixed_flops) / config.budget


def even_flops(state: CalibratedState) -> Tensor:
    """FLOPs per token of experts under an even load, [], all layers together."""
    return state.n_layer * state.top_k * state.expert_flops.mean()


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


def automatic_gain(expert_flops: Tensor, even: Tensor, fixed: float, *, fixed_k: bool = True) -> Tensor:
    """The gain g, [], at which prices of every mix of experts move alike; 0 where experts cost the same and k is fixed.

    A price mu sets experts apart by mu sd(kappa), and loads that answer it move F/B by the experts' share of F times
    sd(kappa). With g = 1 / (share var kappa), mu sd(kappa) rises by the mean cost of who serves, in standard deviations
    of kappa. Where experts serve one by one, not against each other, their number answers too: E[kappa^2] takes the
    place of the variance.
    """
    mean = expert_flops.mean()
    spread = ((expert_flops - mean) ** 2).mean() if fixed_k else (expert_flops**2).mean()
    return quotient(mean**2 * (even + fixed), spread * even)


def updated(config: ComputeConfig, state: CalibratedState, ratio: Tensor, tokens: Tensor) -> Tensor:
    """mu <- max(0, mu + g r_N(H) (F/B - 1)), []; of kind `equal` without the maximum, so that F may not fall short."""
    if config.kind == "none":
        return state.compute_price
    least = 0.0 if config.kind == "budget" else -torch.inf
    gain: float | Tensor | None = config.gain
    if gain is None:
        gain = automatic_gain(state.expert_flops, even_flops(state), state.fixed_flops)
    return ascended(state.compute_price, gain * rate(tokens, config.half_life), ratio, least)


def ascended(price: Tensor, gain: Tensor | float, ratio: Tensor, least: float = 0.0) -> Tensor:
    """mu + gain (F/B - 1), at least `least`: dual ascent of the constraint F <= B, or F = B where nothing is least."""
    return (price + gain * (ratio - 1)).clamp(min=least)
