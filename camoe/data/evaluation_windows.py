"""Held-out tokens cut so that every prediction is scored exactly once, with the exact bytes of text it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from camoe.config import ConfigError
from camoe.config.evaluation import EvaluationConfig
from camoe.data.corpus import Corpus
from camoe.data.tokenizer import SEPARATOR

Places = npt.NDArray[np.int64]
CHUNKED = EvaluationConfig()


@dataclass(frozen=True)
class EvaluationWindows:
    """W windows of a text, in its order: each reads up to T tokens and scores a run of targets behind them.

    starts: [W] place in `tokens` of the first token read. firsts, ends: [W] places of the first target scored and
    behind the last; what a window reads before firsts - 1 is context alone, scored by an earlier one.
    fresh: [W] begins with an empty state; any other goes on from the state of the window before it.

    A separator is a target as well: its nats count, because a model that must not say where a text ends would have an
    easier task, but it stands for 0 bytes. bits per byte = sum of nats / (ln 2 * text_bytes).
    """

    tokens: npt.NDArray[Any]
    ctx_len: int
    byte_lengths: Places
    starts: Places
    firsts: Places
    ends: Places
    fresh: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def document_starts(self) -> Places:
        """[D] first target of each document: that of the text, and every token behind a separator.

        A separator is the last target of the document that it ends.
        """
        return _document_starts(self.tokens)

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
        """`count` of these windows evenly over the text (all, when there are fewer), each from an empty state."""
        chosen = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(np.int64)
        kept = {name: getattr(self, name)[chosen] for name in ("starts", "firsts", "ends")}
        return replace(self, **kept, fresh=np.ones(len(chosen), dtype=np.bool_))

    def groups(self, size: int) -> list[list[Places]]:
        """Batches of up to `size` windows, by number; the state of a batch's rows goes on in the next of its group.

        A group is one batch where every window is fresh. Elsewhere it reads up to `size` stretches of text at once,
        the longest first, so that the rows that a batch still has are the first ones of the batch before it.
        """
        begins = np.flatnonzero(self.fresh)
        lengths = np.diff(np.append(begins, len(self)))
        order = np.argsort(-lengths, kind="stable")
        chosen = [order[start : start + size] for start in range(0, len(order), size)]
        return [[begins[rows][lengths[rows] > step] + step for step in range(int(lengths[rows[0]]))] for rows in chosen]

    def read(self, windows: Places) -> tuple[Places, npt.NDArray[np.bool_]]:
        """Tokens [B,T+1] of windows [B], 0 behind the last target, and [B,T], true where a target is scored.

        No windows at all give one row of padding.
        """
        rows = [field[windows, None] for field in (self.starts, self.firsts, self.ends)]
        starts, firsts, ends = rows if len(windows) else [np.zeros((1, 1), dtype=np.int64)] * 3
        places = starts + np.arange(self.ctx_len + 1)
        inside = places < ends
        tokens = np.where(inside, self.tokens[np.minimum(places, len(self.tokens) - 1)], 0)
        return tokens.astype(np.int64), (inside & (places >= firsts))[:, 1:]

    def batches(self, size: int) -> Iterator[tuple[Places, npt.NDArray[np.bool_]]]:
        """`read` of every batch of every group."""
        return (self.read(windows) for group in self.groups(size) for windows in group)

    def target_numbers(self, windows: Places) -> Places:
        """Which of the N targets the scored places of `read(windows)` are, row by row."""
        sizes = self.ends - self.firsts
        return _ranges((np.cumsum(sizes) - sizes)[windows], sizes[windows])

    @cached_property
    def target_places(self) -> Places:
        """Where in `tokens` the targets are, rising; the input that a target is predicted from stands before it."""
        return _ranges(self.firsts, self.ends - self.firsts)


def evaluation_windows(corpus: Corpus, ctx_len: int, config: EvaluationConfig = CHUNKED) -> EvaluationWindows:
    """All windows of the held-out part."""
    return cut_windows(corpus.valid.tokens, ctx_len, corpus.tokenizer.byte_lengths, config)


def cut_windows(
    tokens: npt.NDArray[Any], ctx_len: int, byte_lengths: Places, config: EvaluationConfig = CHUNKED
) -> EvaluationWindows:
    """All windows of `tokens` [N]; `byte_lengths` [V] are the bytes that each id stands for.

    Windows begin `stride` tokens apart. The first of a text (or document) scores all T targets, every other one its
    last `stride`, each of them with at least T - stride tokens of context before its own.
    """
    if len(tokens) < 2:
        raise ConfigError(f"data: the held-out part has {len(tokens)} tokens, nothing to predict; give more text")
    stride = config.step_of(ctx_len)
    bounds = np.append(_document_starts(tokens) if config.by_document else 1, len(tokens))
    beyond_first = np.maximum(np.diff(bounds) - ctx_len, 0)
    counts = 1 - (-beyond_first // stride)
    number = _ranges(np.zeros_like(counts), counts)
    starts = np.repeat(bounds[:-1] - 1, counts) + number * stride
    firsts = starts + np.where(number == 0, 1, ctx_len - stride + 1)
    ends = np.minimum(starts + ctx_len + 1, np.repeat(bounds[1:], counts))
    fresh = (number == 0) | (config.mode != "stateful")
    return EvaluationWindows(tokens, ctx_len, byte_lengths, starts, firsts, ends, fresh)


def _document_starts(tokens: npt.NDArray[Any]) -> Places:
    separators = np.flatnonzero(tokens[1:-1] == SEPARATOR) + 1
    return np.concatenate([[1], separators + 1])


def _ranges(begins: Places, sizes: Places) -> Places:
    """begin, begin + 1, ... of every range, one range after the other."""
    return np.repeat(begins - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
