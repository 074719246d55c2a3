"""What the market tells one layer's router before an election."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from camoe.economy.critic import CriticOpinion


class LayerQuote(Protocol):
    """State of one layer's market, without gradient; every economy has its own.

    A bid is base + bias - toll (+ noise), where the base is the gate logit, or its sigmoid where `space` is "score".
    """

    @property
    def space(self) -> str:
        """What bids add to: "logits" or "score"."""

    def bias(self, gate_logits: Tensor, opinion: CriticOpinion | None) -> Tensor:
        """What wealth adds to the bids, [B,T,E], detached; `opinion` is the critic's view of the same tokens."""

    def toll(self) -> Tensor:
        """What is taken off every bid for an expert, [E]: prices of congestion and compute, kept when bias is not."""

    def noise_std(self, default: float) -> Tensor | float:
        """Standard deviation of training's noise on the bids, from the router's own setting."""
