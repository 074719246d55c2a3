"""The price of compute of routers without a market: holds forward FLOPs per token at a target."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from camoe.config.learned_router import FlopsTargetConfig
from camoe.economy.calibrated.compute_price import ascended, automatic_gain, over_even

AUTOMATIC = 0.05
"""Of the gain that would answer an excess at once: the share that one optimiser step moves."""


class MixFlops(NamedTuple):
    """Forward FLOPs per token: [L][E] of every expert, and of everything that is no expert."""

    expert: list[list[int]]
    fixed: float


class ComputePrice(nn.Module):
    """mu, in units of what is bid per kappa_e = FLOPs_e / mean; mu <- mu + g (F - B)/B, once per optimiser step.

    F are the measured FLOPs per token, B is `flops_target` times F under an even load. Where the rule is at_most, mu
    is never negative: the multiplier of F <= B. Where it is equal, dear experts may be priced up. The formulas are
    those of the calibrated market (14). Without a target mu stays 0.
    """

    price: Tensor
    """[], mu."""
    expert_flops: Tensor
    """[L,E]."""

    def __init__(self, config: FlopsTargetConfig, top_k: int, flops: MixFlops) -> None:
        super().__init__()
        self.config, self.top_k, self.fixed = config, top_k, flops.fixed
        self.register_buffer("price", torch.zeros((), dtype=torch.float64))
        self.register_buffer("expert_flops", torch.tensor(flops.expert, dtype=torch.float64), persistent=False)

    def toll(self) -> Tensor:
        """mu kappa_e, [L,E], to be taken off every bid."""
        mean = self.expert_flops.mean()
        return self.price * self.expert_flops / torch.where(mean > 0, mean, 1)

    def load_weights(self) -> Tensor:
        """e^(-mu kappa_e), [L,E]: loads to aim at, up to a factor, of rules that would undo a toll on the bids."""
        return torch.exp(-self.toll())

    def end_step(self, served: Tensor, tokens: Tensor) -> None:
        """Move mu by the tokens served [L,E] of N tokens."""
        target = self.config.flops_target
        if target is None:
            return
        even = len(self.expert_flops) * self.top_k * self.expert_flops.mean()
        ratio = over_even(served, tokens, self.expert_flops, even, self.fixed) / target
        least = 0.0 if self.config.flops_rule == "at_most" else -torch.inf
        gain: float | Tensor | None = self.config.flops_gain
        if gain is None:
            gain = AUTOMATIC * automatic_gain(self.expert_flops, even, self.fixed, fixed_k=self.config.fixed_k)
        self.price.copy_(ascended(self.price, gain, ratio, least))
