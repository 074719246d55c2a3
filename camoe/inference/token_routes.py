"""Who made each token of a text: the decisions of the pass that predicted it, in every layer."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from camoe.model.routing_trace import RoutingTrace


@dataclass(frozen=True)
class TokenRoutes:
    """Of n tokens in L layers, on the CPU.

    experts: [L,n,K] int64, winners in falling order of their bids. weights: [L,n,K]. serves: [L,n,K] bool. price:
    [L,n] in gate-score units. difficulty: [L,n] as the critic judges it, None without one.
    """

    experts: Tensor
    weights: Tensor
    serves: Tensor
    price: Tensor
    difficulty: Tensor | None

    @classmethod
    def of_row(cls, trace: RoutingTrace, row: int) -> TokenRoutes:
        """One sequence's part of what a forward pass decided."""
        decision = trace.decision()
        opinions = [layer.opinion.difficulty[row] for layer in trace.layers if layer.opinion is not None]
        experts = decision.experts[:, row].cpu()
        return cls(
            experts,
            decision.weights[:, row].float().cpu(),
            torch.ones_like(experts, dtype=torch.bool) if decision.active is None else decision.active[:, row].cpu(),
            decision.price[:, row].float().cpu(),
            torch.stack(opinions).float().cpu() if opinions else None,
        )

    def first(self, n: int) -> TokenRoutes:
        """Those of the first n tokens."""
        difficulty = None if self.difficulty is None else self.difficulty[:, :n]
        return TokenRoutes(self.experts[:, :n], self.weights[:, :n], self.serves[:, :n], self.price[:, :n], difficulty)

    def transformer_use(self, first_prefix: int) -> Tensor:
        """[L,n] share of a token's serving winners that are Transformer experts: those from `first_prefix` on."""
        serving = self.serves.sum(-1).clamp(min=1)
        return (self.serves & (self.experts >= first_prefix)).sum(-1) / serving

    def load(self, n_expert: int) -> Tensor:
        """[E] share of each expert in all winners that serve."""
        count = torch.bincount(self.experts[self.serves], minlength=n_expert)
        return count / count.sum().clamp(min=1)


@dataclass
class RouteRecord:
    """The routes of a text, pass by pass."""

    passes: list[TokenRoutes] = field(default_factory=list)

    def routes(self) -> TokenRoutes:
        """All of them as one; there is at least one pass."""
        parts = self.passes
        difficulties = [part.difficulty for part in parts if part.difficulty is not None]
        return TokenRoutes(
            torch.cat([part.experts for part in parts], 1),
            torch.cat([part.weights for part in parts], 1),
            torch.cat([part.serves for part in parts], 1),
            torch.cat([part.price for part in parts], 1),
            torch.cat(difficulties, 1) if difficulties else None,
        )
