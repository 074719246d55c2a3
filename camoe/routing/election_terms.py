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
    not reach (its tolls do); None: it reaches all.
    """

    noise: Tensor | None = None
    market_off: Tensor | None = None
    audited: AuditedLayer | None = None

    def of_layer(self, layer: int) -> LayerTerms:
        """The terms of one layer's elections."""
        noise = None if self.noise is None else self.noise[:, layer]
        audited = self.audited if self.audited is not None and self.audited.layer == layer else None
        return LayerTerms(noise, self.market_off, audited)

    def of_rows(self, rows: Tensor, audited: AuditedLayer | None = None) -> ElectionTerms:
        """The same terms for sequences `rows` [S] of the batch, with an experiment on them."""
        noise = None if self.noise is None else self.noise[rows]
        return ElectionTerms(noise, None if self.market_off is None else self.market_off[rows], audited)


@dataclass(frozen=True)
class LayerTerms:
    """Of one layer: noise [B,T,E], market_off [B], and the experiment where this layer is audited."""

    noise: Tensor | None = None
    market_off: Tensor | None = None
    audited: AuditedLayer | None = None

    def reached(self, bias: Tensor) -> Tensor:
        """The market's bias [B,T,E] where it is to be felt, 0 in sequences held out from it."""
        return bias if self.market_off is None else bias.masked_fill(self.market_off[:, None, None], 0)

    def admitted(self, bids: Tensor) -> Tensor:
        """Bids [B,T,E] with those of banned experts at minus infinity."""
        if self.audited is None:
            return bids
        experts = torch.arange(bids.shape[-1], device=bids.device)
        return bids.masked_fill((self.audited.banned[:, None] == experts)[:, None], -torch.inf)

    def weighed(self, weights: Tensor) -> Tensor:
        """Mixture weights [B,T,K] as the experiment wants them."""
        return weights if self.audited is None else weights * self.audited.weight_factor


NO_EXPERIMENT = ElectionTerms()
"""Elections of evaluation and generation."""
