"""Rows that hold one document each, or a piece of a long one: nothing of a document reaches into another."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from camoe.config import ConfigError
from camoe.config.evaluation import EvaluationConfig
from camoe.data.corpus import Corpus
from camoe.data.evaluation_windows import cut_windows

Numbers = npt.NDArray[np.int64]


class DocumentRows:
    """The training text as rows of up to T+1 tokens, each from an empty state, none across a separator.

    A row begins with the separator before its document, or with the last token of the piece before it, and its targets
    end with the separator behind the document. Every token and separator is the target of exactly one row.
    """

    rows_per_item = 1

    def __init__(self, corpus: Corpus, ctx_len: int) -> None:
        alone = EvaluationConfig(by_document=True)
        self._windows = cut_windows(corpus.train.tokens, ctx_len, corpus.tokenizer.byte_lengths, alone)

    @cached_property
    def row_lengths(self) -> Numbers:
        """[R] tokens of every row."""
        return self._windows.ends - self._windows.starts

    @cached_property
    def items(self) -> Numbers:
        """Numbers of all rows."""
        return np.arange(len(self._windows))

    def check(self, setting: str) -> None:
        """ConfigError, naming `setting`, when there is no row."""
        if not len(self.items):
            raise ConfigError(f"{setting}: no document to train on")

    def lengths(self, items: Numbers) -> Numbers:
        """[I] tokens of rows."""
        return self.row_lengths[items]

    def read(self, items: Numbers) -> tuple[Numbers, npt.NDArray[np.bool_]]:
        """Tokens [B,T+1] of rows, 0 behind their ends, and [B,T], true inside; T as long as the longest row needs."""
        tokens, inside = self._windows.read(items)
        longest = int(self.row_lengths[items].max())
        return tokens[:, :longest], inside[:, : longest - 1]
