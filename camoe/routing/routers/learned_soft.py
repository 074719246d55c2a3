"""Soft routing: everybody serves."""

from __future__ import annotations

from torch import Tensor

from camoe.routing.learned_router import LearnedRouter
from camoe.routing.router import mixture_weights


class LearnedSoft(LearnedRouter):
    """weights = p = softmax(z) over all E experts, all of which serve every token; K = E whatever router.top_k says.

    As dear as E experts, and nothing is left to balance. Source: Complexity MoE, learned soft router.
    """

    def weigh(self, logits: Tensor, winners: Tensor) -> Tensor:
        """p of the winners, who are all experts."""
        return mixture_weights(logits, winners)
