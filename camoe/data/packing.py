"""Tokenise a stream of documents into one token file, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from camoe.data.scale_figures import byte_counts
from camoe.data.token_file import TokenFile, documents_path, token_dtype
from camoe.data.tokenizer import SEPARATOR, Tokenizer

BATCH_CHARACTERS = 1 << 21
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def pack(
    documents: Iterable[str],
    tokenizer: Tokenizer,
    folder: Path,
    split: str,
    progress: Callable[[str, int], None],
) -> tuple[TokenFile, npt.NDArray[np.int64]]:
    """Write `split`.bin and its document table into `folder`; also count the text's byte values, [256].

    The caller makes the folder visible when all parts are done.
    """
    dtype = token_dtype(tokenizer.vocab_size)
    separator = np.array([SEPARATOR], dtype=dtype)
    path = folder / f"{split}.bin"
    checksum = hashlib.sha256(separator.tobytes())
    counts = np.zeros(256, dtype=np.int64)
    lengths: list[int] = []
    sizes: list[int] = []
    with path.open("wb") as file:
        file.write(separator.tobytes())
        for texts in _batches(documents):
            contents = [text.encode() for text in texts]
            for ids in tokenizer.encode_batch(texts):
                packed = np.array([*ids, SEPARATOR], dtype=dtype).tobytes()
                file.write(packed)
                checksum.update(packed)
                lengths.append(len(ids))
            sizes += map(len, contents)
            counts += byte_counts(b"".join(contents))
            progress(f"tokenising {split}", int(counts.sum()))
    starts = 1 + np.concatenate([[0], np.cumsum(np.array(lengths, dtype=np.int64) + 1)])[:-1].astype(np.int64)
    np.savez(documents_path(path), starts=starts, bytes=np.array(sizes, dtype=np.int64))
    statistics = _statistics(split, lengths, int(counts.sum())) | {"dtype": dtype.str, "sha256": checksum.hexdigest()}
    return TokenFile(folder, statistics), counts


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
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


def _statistics(split: str, lengths: list[int], text_bytes: int) -> dict[str, Any]:
    """JSON-ready figures. Lengths are tokens per document without separators; bytes are UTF-8 bytes of text."""
    text_tokens = sum(lengths)
    quantiles = np.quantile(lengths, QUANTILES) if lengths else np.zeros(len(QUANTILES))
    return {
        "split": split,
        "documents": len(lengths),
        "tokens": text_tokens + len(lengths) + 1,
        "text_tokens": text_tokens,
        "bytes": text_bytes,
        "bytes_per_token": text_bytes / max(1, text_tokens),
        "document_tokens": {f"p{100 * q:g}": float(value) for q, value in zip(QUANTILES, quantiles, strict=True)},
    }
