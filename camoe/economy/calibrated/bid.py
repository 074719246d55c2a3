"""(1) What the calibrated market adds to one layer's bids."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from camoe.economy.calibrated.rates import quotient
from camoe.economy.critic import CriticOpinion

LARGEST_WEIGHT = 2.0


def base_of_bids(gate_logits: Tensor, space: str) -> Tensor:
    """What bids add to: the gate logits, or their sigmoid where `space` is "score"."""
    return torch.sigmoid(gate_logits) if space == "score" else gate_logits


@dataclass(frozen=True)
class CalibratedQuote:
    """One layer's quote (see LayerQuote), without gradient."""

    wealth: Tensor
    """[E], alpha times log(E c_e), in standard deviations of the gate."""
    subsidy: Tensor
    """[E], nu_e, in standard deviations of the gate."""
    tolls: Tensor
    """[E], lambda_e + mu kappa_e, in units of what bids add to."""
    gate_deviation: Tensor
    """[], s_z; 0 before the first settlement."""
    difficulty_mean: Tensor
    """[], of the critic's expectations."""
    difficulty_deviation: Tensor
    """[], of the critic's expectations."""
    difficulty_weight: float
    """delta."""
    bias_max: float
    """B_max."""
    space: str
    """"logits" or "score"."""

    def bias(self, gate_logits: Tensor, opinion: CriticOpinion | None) -> Tensor:
        """B_te = s_z clip(alpha m_t log(E c_e) + nu_e, +-B_max), [B,T,E]: 0 for average wealth without subsidy."""
        wealth, subsidy = self.wealth.to(gate_logits.dtype), self.subsidy.to(gate_logits.dtype)
        weight = self._weight(opinion, gate_logits)
        bias = (weight * wealth + subsidy).clamp(-self.bias_max, self.bias_max)
        return self.gate_deviation.to(gate_logits.dtype) * bias

    def _weight(self, opinion: CriticOpinion | None, gate_logits: Tensor) -> Tensor:
        """m_t = clip(1 + delta zscore(d_t), 0, 2), [B,T,1]: wealth counts for more on tokens that look hard."""
        if opinion is None:
            return torch.ones_like(gate_logits[..., :1])
        surprise = opinion.difficulty.detach().to(gate_logits.dtype) - self.difficulty_mean.to(gate_logits.dtype)
        score = quotient(surprise, self.difficulty_deviation.to(gate_logits.dtype))
        return (1 + self.difficulty_weight * score).clamp(0, LARGEST_WEIGHT).unsqueeze(-1)

    def toll(self) -> Tensor:
        """lambda_e + mu kappa_e, [E]."""
        return self.tolls

    def at_rest(self) -> CalibratedQuote:
        """The same without bias and tolls: only the space of bids and the unit of noise are left."""
        nothing = torch.zeros_like(self.wealth)
        return replace(self, wealth=nothing, subsidy=nothing, tolls=nothing)

    def noise_std(self, default: float) -> Tensor | float:
        """sigma_r s_z, []; the router's own sigma_r as it is while nothing is known of s_z."""
        return torch.where(self.gate_deviation > 0, default * self.gate_deviation, default)
