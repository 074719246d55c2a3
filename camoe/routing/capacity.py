"""Limited places at every expert in training: who is beyond them, and who goes to the next choice instead.

Letters: G groups (sequences, or one batch), N tokens of a group in the order of places, E experts, K winners.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil

import torch
from torch import Tensor

from camoe.config.capacity import CapacityConfig
from camoe.routing.decision import RoutingDecision


def places(tokens: int, top_k: int, n_expert: int, factor: float) -> int:
    """ceil(factor * (tokens * top_k / n_expert)), exactly; the factor is the decimal number that was written.

    Source: Switch Transformers (Fedus et al. 2021) eq. 3, GShard (Lepikhin et al. 2020), with k assignments per token.
    """
    return ceil(Fraction(repr(factor)) * tokens * top_k / n_expert)


class Capacity:
    """The rule of one router. A batch's tokens take places in the order of their times, then of their sequences, so
    that no token's place depends on what follows; of policy `probability`, in the order of the gate's probability."""

    def __init__(self, config: CapacityConfig, top_k: int, n_expert: int) -> None:
        self.config, self.top_k, self.n_expert = config, top_k, n_expert

    def of_group(self, batch: int, length: int) -> int:
        """Places at each expert in a group of a batch [B,T]."""
        tokens = length if self.config.scope == "sequence" else batch * length
        return places(tokens, self.top_k, self.n_expert, self.config.factor)

    def in_all(self, batch: int, length: int) -> int:
        """Places at all experts and groups of a batch [B,T]."""
        groups = batch if self.config.scope == "sequence" else 1
        return groups * self.n_expert * self.of_group(batch, length)

    def limit(self, decision: RoutingDecision) -> RoutingDecision:
        """The decision with its `overflow` noted and, unless it is only observed, kept from serving."""
        overflow = ~self._has_place(decision)
        if decision.active is not None:
            overflow = overflow & decision.active
        if not self.config.limits:
            return replace(decision, overflow=overflow)
        active = ~overflow if decision.active is None else decision.active & ~overflow
        return replace(decision, weights=decision.weights * active, active=active, overflow=overflow)

    @torch.no_grad()
    def with_room(self, bids: Tensor) -> Tensor:
        """Bids [B,T,E] in which experts without a place left bid less than any other.

        Tokens choose one after another, each its K best experts with room. All at once: a round takes the choices that
        follow from who was full when, and counts anew. The first expert to fill up does so at the right time in round
        1, the r-th in round r, because those full before it are settled; E rounds settle all.
        """
        grouped, limit = self._grouped(bids), self.of_group(*bids.shape[:2])
        full = grouped.amin(-1, keepdim=True) - 1
        offered = grouped
        for _ in range(self.n_expert):
            best = offered.argsort(dim=-1, descending=True, stable=True)[..., : self.top_k]  # as `elect`
            chosen = torch.zeros_like(grouped).scatter_(-1, best, 1.0)
            offered = torch.where(chosen.cumsum(1) - chosen < limit, grouped, full)
        return self._ungrouped(offered, bids.shape[0])

    def _has_place(self, decision: RoutingDecision) -> Tensor:
        """[B,T,K] whether a winner is among the first of its expert."""
        experts, limit = decision.experts, self.of_group(*decision.experts.shape[:2])
        served = torch.ones_like(experts, dtype=torch.bool) if decision.active is None else decision.active
        wanted = torch.zeros(*experts.shape[:2], self.n_expert, device=experts.device)
        wanted = self._grouped(wanted.scatter_(-1, experts, served.to(wanted.dtype)))
        if self.config.policy == "position":
            before = wanted.cumsum(1) - wanted
        else:
            before = _rank(self._grouped(torch.softmax(decision.gate_logits.detach().float(), -1)), wanted)
        return self._ungrouped(before < limit, experts.shape[0]).gather(-1, experts)

    def _grouped(self, values: Tensor) -> Tensor:
        """[B,T,E] -> [G,N,E]."""
        return values if self.config.scope == "sequence" else values.transpose(0, 1).flatten(0, 1)[None]

    def _ungrouped(self, values: Tensor, batch: int) -> Tensor:
        """[G,N,E] -> [B,T,E]."""
        return values if self.config.scope == "sequence" else values[0].unflatten(0, (-1, batch)).transpose(0, 1)


def _rank(probability: Tensor, wanted: Tensor) -> Tensor:
    """How many of the tokens that want an expert are surer of it, all [G,N,E]; of equals the earlier comes first."""
    order = probability.masked_fill(wanted == 0, -1.0).argsort(dim=1, descending=True, stable=True)
    return order.argsort(dim=1)
