"""What a balancing rule remembers of all layers, and moves once per optimiser step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camoe.kernels.ranks import ALONE, Ranks
from camoe.routing.balance_terms import BalanceTerm
from camoe.routing.decision import RoutingDecision


class Balancer(nn.Module):
    """The interface, and at once the rule of routers that have none: nothing remembered, nothing moved.

    The state lives in buffers stacked over layers, so that checkpoints carry it. An optimiser step asks `window_sums`
    what its window showed, and calls `end_step` once with that, after the weights have moved; a skipped step moves
    nothing. Evaluation moves nothing.
    """

    def of_layer(self, layer: int) -> Tensor | None:  # noqa: ARG002 (the interface)
        """What the layer's router gets as `RoutingContext.balance`."""
        return None

    def losses(self, routing: RoutingDecision, mask: Tensor, ranks: Ranks = ALONE) -> list[BalanceTerm]:  # noqa: ARG002
        """The rule's own losses of a micro-batch, of all layers' differentiable decisions and the mask [B,T].

        Asked before `measure`. What is counted by micro-batch is to go through `ranks.whole_micro_batch`.
        """
        return []

    def measure(self, routing: RoutingDecision, mask: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Sums over the real tokens of a micro-batch; `routing` of all layers, mask [B,T] True at real targets."""
        return {}

    def window_sums(self, routed: Sequence[tuple[RoutingDecision, Tensor]], ranks: Ranks) -> dict[str, Tensor]:
        """Those sums over this rank's micro-batches and all ranks."""
        parts = [self.measure(*micro_batch) for micro_batch in routed]
        own = {name: torch.stack([part[name] for part in parts]).sum(0) for name in parts[0]}
        return dict(zip(own, ranks.sum(list(own.values())), strict=True)) if own else {}

    def end_step(self, sums: dict[str, Tensor]) -> None:
        """Move the state by what the whole window showed."""
