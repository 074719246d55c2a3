"""Tokenise a stream of documents into one token file, in bounded memory; an interrupted one is gone on with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from camoe.data.packed_parts import PackedParts
from camoe.data.scale_figures import byte_counts
from camoe.data.token_file import TokenFile, documents_path, token_dtype, tokens_path
from camoe.data.tokenizer import SEPARATOR, Tokenizer

BATCH_CHARACTERS = 1 << 21
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class Part:
    """Some documents in a row.

    tokens: [n] with a separator behind each document; lengths, sizes: [D] tokens without it, and UTF-8 bytes;
    byte_counts: [256] occurrences of each byte value.
    """

    tokens: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    byte_counts: npt.NDArray[np.int64]


def pack(
    documents: Iterable[str],
    tokenizer: Tokenizer,
    folder: Path,
    split: str,
    progress: Callable[[str, int], None],
) -> tuple[TokenFile, npt.NDArray[np.int64]]:
    """Write `split`.bin and its document table into `folder`; also count the text's byte values, [256].

    Documents that an earlier, interrupted call packed are read over, not tokenised again: the same stream gives the
    same bytes however often it was interrupted. The caller makes the folder visible when all splits are done.
    """
    parts = PackedParts(folder, split)
    done = sum(map(len, parts.each("sizes")))
    size = sum(int(sizes.sum()) for sizes in parts.each("sizes"))
    dtype = token_dtype(tokenizer.vocab_size)
    for texts in batches(islice(documents, done, None)):
        part = _part(texts, tokenizer, dtype)
        parts.add(vars(part))
        size += int(part.sizes.sum())
        progress(f"tokenising {split}", size)
    return _assemble(parts, tokens_path(folder, split), dtype)


def _part(texts: list[str], tokenizer: Tokenizer, dtype: np.dtype[Any]) -> Part:
    contents = [text.encode() for text in texts]
    encoded = [np.array([*ids, SEPARATOR], dtype=dtype) for ids in tokenizer.encode_batch(texts)]
    return Part(
        tokens=np.concatenate(encoded),
        lengths=np.array([len(ids) - 1 for ids in encoded], dtype=np.int64),
        sizes=np.array([len(content) for content in contents], dtype=np.int64),
        byte_counts=byte_counts(b"".join(contents)),
    )


def _assemble(parts: PackedParts, path: Path, dtype: np.dtype[Any]) -> tuple[TokenFile, npt.NDArray[np.int64]]:
    """The token file: a separator, then all parts; and the table of its documents."""
    first = np.array([SEPARATOR], dtype=dtype).tobytes()
    checksum = hashlib.sha256(first)
    counts = np.zeros(256, dtype=np.int64)
    lengths, sizes = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    with path.open("wb") as file:
        file.write(first)
        for part in (Part(**arrays) for arrays in parts):
            content = part.tokens.tobytes()
            file.write(content)
            checksum.update(content)
            counts += part.byte_counts
            lengths.append(part.lengths)
            sizes.append(part.sizes)
    tokens = np.concatenate(lengths)
    starts = 1 + np.cumsum(tokens + 1) - (tokens + 1)
    np.savez(documents_path(path), starts=starts, bytes=np.concatenate(sizes))
    statistics = _statistics(tokens, int(counts.sum())) | {"dtype": dtype.str, "sha256": checksum.hexdigest()}
    return TokenFile(path, statistics), counts


def batches(documents: Iterable[str]) -> Iterator[list[str]]:
    """Documents in groups large enough to keep every core busy, small enough to hold."""
    batch: list[str] = []
    characters = 0
    for text in documents:
        batch.append(text)
        characters += len(text)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _statistics(lengths: npt.NDArray[np.int64], text_bytes: int) -> dict[str, Any]:
    """JSON-ready figures. Lengths are tokens per document without separators; bytes are UTF-8 bytes of text."""
    text_tokens = int(lengths.sum())
    quantiles = np.quantile(lengths, QUANTILES) if len(lengths) else np.zeros(len(QUANTILES))
    return {
        "documents": len(lengths),
        "tokens": text_tokens + len(lengths) + 1,
        "text_tokens": text_tokens,
        "bytes": text_bytes,
        "bytes_per_token": text_bytes / max(1, text_tokens),
        "document_tokens": {f"p{100 * q:g}": float(value) for q, value in zip(QUANTILES, quantiles, strict=True)},
    }
