"""What runs up through the layers for every token."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Stream(NamedTuple):
    """What a layer receives from the one below, each part [B,T,C].

    x: the residual stream. v_first: the value residual's first values, None before the first TimeMix. velocity: the
    stream's over depth, None in the first layer and without `model.dynamics=pid`. first: the normalised embedding, None
    without `model.residual_scales`. kept: outputs of earlier layers that later ones will take, last in first out; empty
    without `model.skip_connections`.
    """

    x: Tensor
    v_first: Tensor | None = None
    velocity: Tensor | None = None
    first: Tensor | None = None
    kept: tuple[Tensor, ...] = ()

    def of_rows(self, rows: Tensor) -> Stream:
        """The same of sequences `rows` [S], cut off from the graph."""
        v_first, velocity, first = (
            None if part is None else part[rows].detach() for part in (self.v_first, self.velocity, self.first)
        )
        kept = tuple(part[rows].detach() for part in self.kept)
        return Stream(self.x[rows].detach(), v_first, velocity, first, kept)
