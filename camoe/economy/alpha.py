"""alpha: how much weight the market's bids carry beside the gate, per layer."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.economy import V21Config
from camoe.economy.arithmetic import moving_average
from camoe.economy.window_sums import WindowSums

NEUTRAL_AGREEMENT = 0.5


def agreement(sums: WindowSums) -> Tensor:
    """Share [L] of tokens on which gate and market favour the same expert.

    Tokens with a flat bias are not counted; 0.5, which leaves alpha where it is, when the market had no opinion at all.
    """
    return torch.where(sums.opinions > 0, sums.agreed / sums.opinions.clamp(min=1), NEUTRAL_AGREEMENT)


def adapted_alpha(alpha: Tensor, agreed: Tensor, config: V21Config) -> Tensor:
    """alpha [L] after one settlement, from the share [L] of tokens agreed upon (economy A.10).

    A moving average towards clip(alpha + 2 * alpha_step * (agreed - 0.5), alpha_min, alpha_max).
    """
    step = config.alpha_step * 2 * (agreed - NEUTRAL_AGREEMENT)
    target = (alpha + step).clamp(config.alpha_min, config.alpha_max)
    return moving_average(alpha, target, config.alpha_ema)
