"""Rows that go to the processes which own them, and come back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor


class RowExchange(ABC):
    """`count` processes that own equally many experts each, in order; this one is the `index`-th.

    All of them call the same methods in the same order.
    """

    index: int
    count: int

    @abstractmethod
    def numbers(self, own: Tensor) -> Tensor:
        """[count,...] what each process has for this one, of `own` [count,...], what this one has for each."""

    @abstractmethod
    def rows(self, rows: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
        """[sum(received),...] rows from each process in order, for `rows` [sum(sent),...] to each; differentiable."""
