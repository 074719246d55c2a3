"""Held-out tokens cut so that every prediction is scored exactly once, with the exact bytes of text it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from camoe.config import ConfigError
from camoe.data.corpus import Corpus
from camoe.data.tokenizer import SEPARATOR


@dataclass(frozen=True)
class EvaluationWindows:
    """Some of the windows 0, 1, 2, ... of a text; window i predicts tokens i*T+1 .. i*T+T, the last one perhaps fewer.

    A separator is a target as well: its nats count, because a model that must not say where a text ends would have an
    easier task, but it stands for 0 bytes. bits per byte = sum of nats / (ln 2 * text_bytes).
    """

    tokens: npt.NDArray[Any]
    ctx_len: int
    byte_lengths: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def document_starts(self) -> npt.NDArray[np.int64]:
        """[D] first target of each document: that of the text, and every token behind a separator.

        A separator is the last target of the document that it ends.
        """
        separators = np.flatnonzero(self.tokens[1:-1] == SEPARATOR) + 1
        return np.concatenate([[1], separators + 1])

    @cached_property
    def targets(self) -> int:
        """Predictions to score, separators included."""
        return len(self.target_places)

    @cached_property
    def text_bytes(self) -> int:
        """UTF-8 bytes of exactly the targets of these windows."""
        occurrences = np.bincount(self.tokens[self.target_places], minlength=len(self.byte_lengths))
        return int(occurrences @ self.byte_lengths)

    def spread(self, count: int) -> EvaluationWindows:
        """`count` of these windows evenly over the text (all, when there are fewer): frequent and cheap evaluations."""
        chosen = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(np.int64)
        return replace(self, numbers=self.numbers[chosen])

    def batches(
        self, size: int, first: int = 0, stride: int = 1
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]]:
        """Up to `size` windows at a time: tokens [B, T+1] int64 padded with 0, mask [B, T], true where a target is.

        Of all batches those numbered first, first + stride, ...; where there are none, one of padding alone.
        """
        beyond = np.array([len(self.tokens)])
        for start in range(first * size, len(self), stride * size) or [len(self)]:
            numbers = self.numbers[start : start + size] if start < len(self) else beyond
            places = numbers[:, None] * self.ctx_len + np.arange(self.ctx_len + 1)
            inside = places < len(self.tokens)
            tokens = np.where(inside, self.tokens[np.minimum(places, len(self.tokens) - 1)], 0)
            yield tokens.astype(np.int64), inside[:, 1:]

    @cached_property
    def target_places(self) -> npt.NDArray[np.int64]:
        """Where in `tokens` the targets are, rising; the input that a target is predicted from stands before it."""
        places = (self.numbers[:, None] * self.ctx_len + np.arange(1, self.ctx_len + 1)).ravel()
        return places[places < len(self.tokens)]


def evaluation_windows(corpus: Corpus, ctx_len: int) -> EvaluationWindows:
    """All windows of the held-out part."""
    return cut_windows(corpus.valid.tokens, ctx_len, corpus.tokenizer.byte_lengths)


def cut_windows(tokens: npt.NDArray[Any], ctx_len: int, byte_lengths: npt.NDArray[np.int64]) -> EvaluationWindows:
    """All windows of `tokens` [N]; `byte_lengths` [V] are the bytes that each id stands for."""
    if len(tokens) < 2:
        raise ConfigError(f"data: the held-out part has {len(tokens)} tokens, nothing to predict; give more text")
    return EvaluationWindows(tokens, ctx_len, byte_lengths, numbers=np.arange(-(-(len(tokens) - 1) // ctx_len)))
