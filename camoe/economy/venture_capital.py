"""Grants to poor, unused experts that the critic believes in."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.economy import V21Config
from camoe.economy.arithmetic import ratio

LEAST_LEVERAGE, LARGEST_LEVERAGE = 0.5, 5.0


def venture_grants(capital: Tensor, selected_share: Tensor, mean_trust: Tensor, config: V21Config) -> Tensor:
    """Grants [L,E] from capital, this window's selected share and mean relu(affinity), all [L,E] (economy A.7).

    Eligible is who has less than vc_low_cap_ratio of the mean capital, won less than vc_selected_threshold of the
    tokens, and is trusted beyond vc_affinity_threshold. The budget vc_inject_ratio * M is split by excess trust times
    clip(mean C / C_e, 0.5, 5); nobody gets more than vc_max_inject_ratio * M / E.
    """
    mean = capital.mean(-1, keepdim=True)
    excess_trust = (mean_trust - config.vc_affinity_threshold).clamp(min=0)
    eligible = (
        (capital < config.vc_low_cap_ratio * mean)
        & (selected_share < config.vc_selected_threshold)
        & (excess_trust > 0)
    )
    leverage = ratio(mean, capital).clamp(LEAST_LEVERAGE, LARGEST_LEVERAGE)
    score = torch.where(eligible, excess_trust * leverage, 0)
    budget = config.vc_inject_ratio * config.total_capital
    most = config.vc_max_inject_ratio * config.total_capital / capital.shape[-1]
    return (budget * ratio(score, score.sum(-1, keepdim=True))).clamp(max=most)
