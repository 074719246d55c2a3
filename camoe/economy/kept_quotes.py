"""Quotes of all layers, computed once for every change of the market: tokens are generated one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

S = TypeVar("S", bound=nn.Module)
Q = TypeVar("Q")


class KeptQuotes(Generic[S, Q]):
    """`make(state)`, asked again after any change of the state, which has all it knows in buffers of its own."""

    def __init__(self, state: S, make: Callable[[S], list[Q]]) -> None:
        self.state, self.make = state, make
        self._seen: list[tuple[Tensor, int]] = []
        self._quotes: list[Q] = []

    def of(self, layer: int) -> Q:
        """What one layer's election needs to know."""
        # _buffers, because buffers() walks through submodules for longer than a quote takes to make
        buffers = self.state._buffers.values()
        fresh = len(self._seen) == len(buffers) and all(
            buffer is seen and not buffer.is_inference() and buffer._version == version
            for buffer, (seen, version) in zip(buffers, self._seen, strict=True)
        )
        if not fresh:
            # usable in training also when first asked for while generating
            with torch.inference_mode(False), torch.no_grad():
                self._quotes = self.make(self.state)
            # tensors born in inference mode do not tell when they change
            self._seen = [(x, -1 if x.is_inference() else x._version) for x in buffers if x is not None]
        return self._quotes[layer]
