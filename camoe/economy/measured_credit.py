"""What an audit of one layer hands to the market, and which audits the market asks for.

Letters: S audited pairs of a sequence and an expert, T time, E experts, K winners.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class AuditPlan:
    """Measurements that training makes for the configured credit.

    kind: "replacement" bans one expert per sequence, drawn uniformly; "leave_one_out" bans each in turn; both re-run
    from the audited layer, and the next bidder serves. "midpoint" differentiates at half of the layer's weights.
    share: of the steps, those whose sequences are audited. n_layer: L.
    """

    kind: str
    share: float
    n_layer: int

    def layer(self, earlier_audits: int) -> int:
        """The one layer that is audited in a window, after so many audited windows."""
        return earlier_audits % self.n_layer

    def passes(self, n_expert: int) -> int:
        """Forward passes, from the audited layer on, that an audited token costs among so many experts."""
        return {"replacement": 1, "midpoint": 2, "leave_one_out": n_expert}[self.kind]


@dataclass(frozen=True, kw_only=True)
class MeasuredCredit:
    """Effects of single experts on whole sequences, detached; a pair whose expert served nothing may be among them."""

    layer: Tensor
    """[S] int64."""
    expert: Tensor
    """[S] int64."""
    effect: Tensor
    """[S], nats: sum over the sequence's real targets of loss_banned - loss_normal, or of -g dl/dg (midpoint)."""
    served: Tensor
    """[S], real targets that the expert served in the normal run."""
    bid: Tensor
    """[S], sum over the tokens served of the expert's bid minus the token's mean bid, without noise."""
    price: Tensor
    """[S], sum over the tokens served of the Vickrey price minus the token's mean bid."""

    @staticmethod
    def of_audit(
        layer: int, expert: Tensor, effect: Tensor, *, winners: Tensor, bids: Tensor, price: Tensor, mask: Tensor
    ) -> MeasuredCredit:
        """From experts and effects [S] and, of the audited layer's normal run on the same S sequences, in order:

        winners [S,T,K], bids [S,T,E] (adjusted logits), price [S,T] and the mask of real targets [S,T].
        """
        served = (winners == expert[:, None, None]).any(-1) & mask
        mean = bids.double().mean(-1)
        own = bids.double().gather(-1, expert[:, None, None].expand(-1, bids.shape[1], 1)).squeeze(-1)

        def over_served(values: Tensor) -> Tensor:
            return torch.where(served, values, 0).sum(-1)

        return MeasuredCredit(
            layer=torch.full_like(expert, layer),
            expert=expert,
            effect=effect,
            served=served.sum(-1, dtype=torch.float64),
            bid=over_served(own - mean),
            price=over_served(price.double() - mean),
        )
