"""The processes that train one model together, and the sums they make over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor


class Ranks:
    """The processes of one run, as each of them sees it; this one is alone, and nothing is communicated.

    Whatever is summed has the same bits on every rank afterwards, so that states which follow from sums stay equal.
    All ranks call the same methods in the same order.
    """

    index: int = 0
    """This process's number; 0 is the one that writes."""
    count: int = 1

    connects_gpus: bool = False
    """Whether every rank has a GPU of its own, and tensors go from one to the other."""

    link: str = ""
    """In words: what started and what connects the ranks."""

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes, and talks to the user."""
        return self.index == 0

    def divide(self, groups: int, group: int) -> None:
        """Say how steps are shared: `groups` micro-batches are run at a time, `group` is this rank's among them."""

    def sum(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Sums over all ranks; every rank gives tensors of the same shapes and types."""
        return list(values)

    def join(self, values: Tensor, dim: int) -> Tensor:
        """The tensors of all ranks, which have one shape, joined along `dim` in the order of ranks."""
        del dim
        return values

    def micro_batches(self, sums: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
        """Sums of the whole step's micro-batches, in order, from those of the parts that this rank ran."""
        return [dict(entry) for entry in sums]

    def whole_micro_batch(self, sums: Tensor) -> Tensor:
        """Sums of a whole micro-batch from those of the part that this rank has just run."""
        return sums

    def largest(self, value: int) -> int:
        """The largest number that any rank gives."""
        return value

    def tell(self, text: str | None) -> str:
        """What the first rank says; the others, whose `text` is ignored, wait until it does, however long."""
        assert text is not None
        return text

    def watched(self, report: Callable[[BaseException], object]) -> AbstractContextManager[object]:  # noqa: ARG002
        """Around what may block: where a rank fails and this one cannot notice, `report` hears of it and it ends."""
        return nullcontext()

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """The first rank runs what is inside while the others wait, which then run it too."""
        if not self.is_first:
            self.tell(None)
        yield
        if self.is_first:
            self.tell("")


ALONE = Ranks()
"""A run of one process."""
