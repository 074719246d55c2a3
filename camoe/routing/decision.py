"""What a router decides for every token of one layer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class RoutingDecision:
    """Routers make it, the mixture executes it, the market settles it, the tracker summarises it.

    Of all layers together, every field has a leading [L].

    experts: [B,T,K] int64, winners in falling order of their bids.
    weights: [B,T,K] mixture weights, differentiable in the gate; whether they sum to 1 over K is the router's choice.
    price: [B,T] Vickrey price in gate-score units, detached.
    gate_logits: [B,T,E], differentiable.
    selection_bias: [B,T,E] the part of the market, or of a balancing rule, in the bids, detached.
    adjusted_logits: [B,T,E] the bids before noise, detached: gate logits, or their scores, plus that part.
    active: [B,T,K] bool, winners that serve; None: all do. The others, kept from serving by a capacity or absent
    where a token has fewer than K winners, have weight 0, run no expert and enter no count.
    overflow: [B,T,K] bool, winners beyond their expert's capacity; None: nobody counts.
    first_choices: [B,T,K] int64, who would have won had all experts had room; None: `experts`.
    base: [B,T] int64, the expert that a prior names; None without one.
    """

    experts: Tensor
    weights: Tensor
    price: Tensor
    gate_logits: Tensor
    selection_bias: Tensor
    adjusted_logits: Tensor
    active: Tensor | None = None
    overflow: Tensor | None = None
    first_choices: Tensor | None = None
    base: Tensor | None = None
