"""What training adds to the elections of a batch: noise, and experiments on single sequences."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NOBODY = -1


@dataclass(frozen=True)
class AuditedLayer:
    """An experiment on the elections of one layer; the rest of the model reacts to it.

    banned: [B] int64, the expert whose bid is minus infinity in a sequence (economy B4, replacement); -1: nobody.
    weight_factor: on the winners' mixture weights (1/2 for the midpoint rule).
    """

    layer: int
    banned: Tensor
    weight_factor: float = 1.0


@dataclass(frozen=True)
class ElectionTerms:
    """Of a batch of B sequences, for all L layers.

    noise: standard normal [B,L,T,E]; None elects without. market_off: [B] bool, sequences that the market's bias does
    not reach (its tolls do); None: it reaches all. preference: [E] per token, [B,L,T,E], added to whatever is bid.
    training: whether rules may hold that evaluation cannot have, since they see the whole sequence.
    """

    noise: Tensor | None = None
    market_off: Tensor | None = None
    audited: AuditedLayer | None = None
    preference: Tensor | None = None
    training: bool = False

    def of_layer(self, layer: int) -> LayerTerms:
        """The terms of one layer's elections."""
        noise = None if self.noise is None else self.noise[:, layer]
        audited = self.audited if self.audited is not None and self.audited.layer == layer else None
        preference = None if self.preference is None else self.preference[:, layer]
        return LayerTerms(noise, self.market_off, audited, preference, self.training)

    def of_rows(self, rows: Tensor, audited: AuditedLayer | None = None) -> ElectionTerms:
        """The same terms for sequences `rows` [S] of the batch, with an experiment on them."""
        noise, off, preference = (
            None if part is None else part[rows] for part in (self.noise, self.market_off, self.preference)
        )
        return ElectionTerms(noise, off, audited, preference, self.training)


@dataclass(frozen=True)
class LayerTerms:
    """Of one layer: noise and preference [B,T,E], market_off [B], and the experiment where this layer is audited."""

    noise: Tensor | None = None
    market_off: Tensor | None = None
    audited: AuditedLayer | None = None
    preference: Tensor | None = None
    training: bool = False

    def reached(self, bias: Tensor) -> Tensor:
        """The market's bias [B,T,E] where it is to be felt, 0 in sequences held out from it."""
        return bias if self.market_off is None else bias.masked_fill(self.market_off[:, None, None], 0)

    def admitted(self, bids: Tensor) -> Tensor:
        """Bids [B,T,E] as the preference and the experiment want them: those of banned experts at minus infinity."""
        if self.preference is not None:
            bids = bids + self.preference.to(bids)
        if self.audited is None:
            return bids
        experts = torch.arange(bids.shape[-1], device=bids.device)
        return bids.masked_fill((self.audited.banned[:, None] == experts)[:, None], -torch.inf)

    def weighed(self, weights: Tensor) -> Tensor:
        """Mixture weights [B,T,K] as the experiment wants them."""
        return weights if self.audited is None else weights * self.audited.weight_factor


NO_EXPERIMENT = ElectionTerms()
"""Elections of evaluation and generation."""
