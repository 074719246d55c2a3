"""Dialogues, pairs or documents in random order, alike in length within a step, as a pure function of (seed, step)."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from camoe.data.step_rows import StepRows
from camoe.data.stream_hash import StreamHash

POOL_STEPS = 32
"""Steps whose items are sorted by length together: longer pools pad less and mix less."""


class Rows(Protocol):
    """Items of one or several rows, each of which begins with an empty state."""

    @property
    def rows_per_item(self) -> int:
        """Rows of each item."""

    @property
    def items(self) -> npt.NDArray[np.int64]:
        """Numbers of the items that are used, rising."""

    @property
    def row_lengths(self) -> npt.NDArray[np.int64]:
        """[R] tokens of every row."""

    def check(self, setting: str) -> None:
        """ConfigError, naming `setting`, when there is nothing to read."""

    def lengths(self, items: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """[I] the longest row of each item, in tokens."""

    def read(self, items: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Tokens [B,T+1] of the rows of items, and [B,T], true where a target is learned."""


RowsOfKind = TypeVar("RowsOfKind", bound=Rows)


class AnswerLoader(Generic[RowsOfKind]):
    """Every row of a step begins with an empty state and holds one of them: nothing can leak from one into another.

    An epoch is a permutation of the items, cut into pools of 32 steps. A pool's items are sorted by length and cut
    into steps, whose order is then drawn. What does not fill a step waits for another epoch. A step is padded to its
    longest row only. The position is the two integers (seed, step).
    """

    def __init__(self, rows: RowsOfKind, rows_per_step: int, seed: int, setting: str) -> None:
        """`rows_per_step` G as of BatchLoader; `setting` is named when there is nothing to read."""
        self.rows, self.seed = rows, seed
        self.items_per_step = rows_per_step // rows.rows_per_item
        rows.check(setting)
        self.steps_per_epoch = max(1, len(rows.items) // self.items_per_step)
        self._epoch = -1
        self._order: npt.NDArray[np.int64] = np.empty((0, 0), dtype=np.int64)
        self._hash = StreamHash()

    def items(self, step: int) -> npt.NDArray[np.int64]:
        """Numbers of the items of one optimiser step, [G / rows_per_item]."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._order_of(epoch)
        return self._order[place]

    def rows_of(self, step: int) -> StepRows:
        """The rows of one optimiser step."""
        items = self.items(step)
        return StepRows(*self.rows.read(items), items=items)

    def stream_hash(self, step: int) -> str:
        """Hash of the rows of all steps before `step`, as of BatchLoader."""
        position = step * self.items_per_step
        if position < self._hash.sequences:
            self._hash = StreamHash()
        for done in range(self._hash.sequences // self.items_per_step, step):
            for item in self.items(done):
                self._hash.add(self.rows.read(item[None])[0].flatten())
        return self._hash.digest

    def state_dict(self) -> dict[str, Any]:
        """The running hash."""
        return self._hash.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._hash = StreamHash.from_state_dict(state)

    def padding_share(self, steps: int) -> float:
        """Share of the first steps' places that hold no token of a dialogue."""
        read = [self.items(step) for step in range(steps)]
        places = sum(self.rows.read(items)[0].size for items in read)
        per_item = self.rows.row_lengths.reshape(-1, self.rows.rows_per_item).sum(1)
        return 1 - sum(int(per_item[items].sum()) for items in read) / places

    def _order_of(self, epoch: int) -> npt.NDArray[np.int64]:
        """[steps, items per step]; fewer items than a step needs come several times in it."""
        generator = np.random.default_rng([self.seed, epoch])
        wanted = self.steps_per_epoch * self.items_per_step
        order = np.resize(generator.permutation(self.rows.items), wanted)
        pool = POOL_STEPS * self.items_per_step
        groups = []
        for start in range(0, wanted, pool):
            items = order[start : start + pool]
            items = items[np.argsort(self.rows.lengths(items), kind="stable")]
            groups.append(generator.permutation(items.reshape(-1, self.items_per_step)))
        return np.concatenate(groups)
