"""Held-out tokens cut so that every prediction is scored exactly once, with the exact bytes of text it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from camoe.config import ConfigError
from camoe.data.corpus import Corpus


@dataclass(frozen=True)
class EvaluationWindows:
    """Windows 0 .. count-1; window i predicts tokens i*T+1 .. i*T+T, the last one perhaps fewer.

    A separator is a target as well: its nats count, because a model that must not say where a text ends would have an
    easier task, but it stands for 0 bytes. bits per byte = sum of nats / (ln 2 * text_bytes).
    """

    tokens: npt.NDArray[Any]
    ctx_len: int
    byte_lengths: npt.NDArray[np.int64]
    count: int

    def __len__(self) -> int:
        return self.count

    @property
    def targets(self) -> int:
        """Predictions to score, separators included."""
        return min(self.count * self.ctx_len, len(self.tokens) - 1)

    @cached_property
    def text_bytes(self) -> int:
        """UTF-8 bytes of exactly the targets of these windows."""
        occurrences = np.bincount(self.tokens[1 : self.targets + 1], minlength=len(self.byte_lengths))
        return int(occurrences @ self.byte_lengths)

    def first(self, count: int) -> EvaluationWindows:
        """The first `count` windows (all, when there are fewer), for frequent and cheap evaluations."""
        return EvaluationWindows(self.tokens, self.ctx_len, self.byte_lengths, min(count, self.count))

    def batches(self, size: int) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]]:
        """Up to `size` windows at a time: tokens [B, T+1] int64 padded with 0, mask [B, T], true where a target is."""
        for start in range(0, self.count, size):
            rows = np.arange(start, min(start + size, self.count))[:, None]
            places = rows * self.ctx_len + np.arange(self.ctx_len + 1)
            inside = places < len(self.tokens)
            tokens = np.where(inside, self.tokens[np.minimum(places, len(self.tokens) - 1)], 0)
            yield tokens.astype(np.int64), inside[:, 1:]


def evaluation_windows(corpus: Corpus, ctx_len: int) -> EvaluationWindows:
    """All windows of the held-out part."""
    return cut_windows(corpus.valid.tokens, ctx_len, corpus.tokenizer.byte_lengths)


def cut_windows(tokens: npt.NDArray[Any], ctx_len: int, byte_lengths: npt.NDArray[np.int64]) -> EvaluationWindows:
    """All windows of `tokens` [N]; `byte_lengths` [V] are the bytes that each id stands for."""
    if len(tokens) < 2:
        raise ConfigError(f"data: the held-out part has {len(tokens)} tokens, nothing to predict; give more text")
    return EvaluationWindows(tokens, ctx_len, byte_lengths, count=-(-(len(tokens) - 1) // ctx_len))
