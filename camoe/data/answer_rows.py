"""Rows of tokens of which some are learned: dialogues, or pairs of them that differ in their last answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from camoe.config import ConfigError

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PackedRows:
    """R rows one behind the other. Items are `rows_per_item` rows each: 1 for dialogues, chosen and rejected for pairs.

    tokens: [N]; learned: [N] bool, true for what answers consist of; starts: [R+1] where rows begin, N at the end.
    """

    tokens: npt.NDArray[Any]
    learned: npt.NDArray[np.bool_]
    starts: Numbers
    rows_per_item: int

    @property
    def items(self) -> int:
        """Dialogues or pairs."""
        return (len(self.starts) - 1) // self.rows_per_item


@dataclass(frozen=True)
class AnswerRows:
    """The items of packed rows as a model with `ctx_len` tokens of context reads them: each row from an empty state.

    A row longer than ctx_len + 1 tokens is cut at its end, and an item that loses all of an answer is left out.
    `only`: numbers of the items that are left of them, rising; None: all.
    """

    packed: PackedRows
    ctx_len: int
    only: Numbers | None = None

    @property
    def rows_per_item(self) -> int:
        """1 for dialogues, 2 for pairs."""
        return self.packed.rows_per_item

    @cached_property
    def row_lengths(self) -> Numbers:
        """[R] tokens of every row that are read."""
        return np.minimum(np.diff(self.packed.starts), self.ctx_len + 1)

    @cached_property
    def items(self) -> Numbers:
        """Numbers of the items that are used, rising."""
        if self.only is not None:
            return self.only
        before = np.concatenate([[0], np.cumsum(self.packed.learned)])
        starts = self.packed.starts[:-1]
        learned = before[starts + self.row_lengths] - before[starts]
        return np.flatnonzero((learned.reshape(-1, self.packed.rows_per_item) > 0).all(1))

    def check(self, setting: str) -> None:
        """ConfigError, naming `setting`, when no item is left."""
        if not len(self.items):
            raise ConfigError(f"{setting}: no answer begins within train.ctx_len {self.ctx_len}; give a longer context")

    @cached_property
    def cut(self) -> int:
        """Rows that were cut at their end or left out."""
        return int((np.diff(self.packed.starts) > self.ctx_len + 1).sum())

    def lengths(self, items: Numbers) -> Numbers:
        """[I] the longest row of each item, in tokens."""
        return self.row_lengths.reshape(-1, self.packed.rows_per_item)[items].max(1)

    def read(self, items: Numbers) -> tuple[Numbers, npt.NDArray[np.bool_]]:
        """Tokens [B,T+1] of the rows of items, 0 behind their ends, and [B,T], true where a target is learned.

        B = items x rows_per_item, T as long as the longest row needs.
        """
        rows = (items[:, None] * self.packed.rows_per_item + np.arange(self.packed.rows_per_item)).flatten()
        lengths = self.row_lengths[rows]
        offsets = np.arange(lengths.max())
        inside = offsets < lengths[:, None]
        places = np.where(inside, self.packed.starts[rows][:, None] + offsets, 0)
        tokens = np.where(inside, self.packed.tokens[places], 0).astype(np.int64)
        return tokens, (self.packed.learned[places] & inside)[:, 1:]

    def batches(self, rows: int) -> list[Numbers]:
        """All used items in batches of up to `rows` rows (one item at least), of much the same length."""
        order = self.items[np.argsort(self.lengths(self.items), kind="stable")]
        size = max(1, rows // self.packed.rows_per_item)
        return [order[start : start + size] for start in range(0, len(order), size)]

    def learned_tokens(self) -> Numbers:
        """Every learned target of the used items."""
        tokens, learned = self.read(self.items)
        return tokens[:, 1:][learned]

    def places(self, rows: int) -> int:
        """What a model reads in `batches(rows)`, padding included."""
        per_item = self.packed.rows_per_item
        return sum(len(items) * per_item * int(self.lengths(items).max() - 1) for items in self.batches(rows))

    def spread(self, rows: int) -> AnswerRows:
        """The same with `rows` rows' worth of the items, evenly over them (all, when there are fewer)."""
        count = min(max(1, rows // self.packed.rows_per_item), len(self.items))
        chosen = self.items[np.linspace(0, len(self.items) - 1, count).round().astype(np.int64)]
        return replace(self, only=chosen)
