"""Code, comments and docstrings of Python source, token by token: natural labels of the default text."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from camoe.data.corpus import Corpus

PARTS = ("code", "comment", "docstring")
CODE, COMMENT, DOCSTRING = range(len(PARTS))
NO_PART = -1  # a separator, which stands for no text
LINE_ENDS = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
Place = tuple[int, int]


def byte_parts(source: str) -> npt.NDArray[np.int8]:
    """The part of each UTF-8 byte of a module, [bytes]. What cannot be read any more, as after a cut, is code."""
    parts = np.full(len(source.encode()), CODE, dtype=np.int8)
    lines = source.split("\n")
    starts = np.cumsum([0, *(len(line.encode()) + 1 for line in lines)])

    def offset(place: Place) -> int:
        row, column = place
        return int(starts[row - 1]) + len(lines[row - 1][:column].encode())

    for part, begin, end in _marked(source):
        parts[offset(begin) : offset(end)] = part
    return parts


def held_out_parts(corpus: Corpus) -> npt.NDArray[np.int8]:
    """The part of each held-out token, [N]: that of its last byte, so that a space goes with what it introduces."""
    tokens, tokenizer = corpus.valid.tokens, corpus.tokenizer
    parts = np.full(len(tokens), NO_PART, dtype=np.int8)
    starts = corpus.valid.document_starts
    for start, end in zip(starts, [*starts[1:] - 1, len(tokens) - 1], strict=True):
        ids = tokens[start:end]
        last_bytes = np.cumsum(tokenizer.byte_lengths[ids]) - 1
        parts[start:end] = byte_parts(tokenizer.decode(ids.tolist()))[last_bytes]
    return parts


def _marked(source: str) -> Iterator[tuple[int, Place, Place]]:
    """(part, begin, end) of every comment, and of every string that is a statement of its own."""
    first, candidate = True, None
    for token in _tokens(source):
        if token.type == tokenize.COMMENT:
            yield COMMENT, token.start, token.end
        if token.type in (tokenize.COMMENT, tokenize.NL):
            continue
        if candidate is not None and token.type == tokenize.NEWLINE:
            yield DOCSTRING, candidate.start, candidate.end
        candidate = token if first and token.type == tokenize.STRING else None
        first = token.type in LINE_ENDS


def _tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    try:
        yield from tokenize.generate_tokens(io.StringIO(source).readline)
    except (tokenize.TokenError, SyntaxError):
        return
