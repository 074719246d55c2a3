"""From configured text to packed tokens in the cache: done once, found again by its key, safe to run twice at once.

An interrupted preparation leaves a folder named `*.partial`, in which the same preparation goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from camoe.config.data import DataConfig
from camoe.config.tokenizer import TokenizerConfig
from camoe.data.cache_folder import being_made
from camoe.data.corpus import Corpus, open_corpus, open_tokenizer, save_corpus, save_tokenizer
from camoe.data.document_stream import DocumentStream, StreamCounts, no_document
from camoe.data.flushed import flush_to_disk
from camoe.data.open_source import open_source
from camoe.data.packed_parts import remove_parts
from camoe.data.packing import pack
from camoe.data.progress import ProgressBar
from camoe.data.scale_figures import gzip_bits_per_byte, unigram_bits_per_byte
from camoe.data.source import Source, Split
from camoe.data.token_file import TokenFile
from camoe.data.tokenizer import Tokenizer
from camoe.data.tokenizer_store import build_tokenizer, tokenizer_identity

LAYOUT_VERSION = 2  # raise it when sources, cleaning or packing change, so that older caches are not found
DECIDING = ("valid_fraction", "max_train_bytes", "max_valid_bytes")
"""Settings that decide the tokens beside what the sources themselves say."""


def prepare(
    data: DataConfig,
    tokenizer: TokenizerConfig,
    progress: Callable[[str, int], None] | None = None,
    *,
    every_byte: bool = False,
) -> Corpus:
    """The corpus that the two groups describe, from the cache (`every_byte`: proved to be what was packed) or made now.

    `progress(stage, bytes done)` is called while it is made; by default a bar appears when it takes long.
    Raises ConfigError for text that is missing, broken or leaves a part without a document.
    """
    source = open_source(data)
    with ProgressBar() as bar:
        progress = progress or bar
        source.fetch(progress)
        folder = _cache_folder(source, data, tokenizer)
        found = open_corpus(folder, every_byte=every_byte)
        if found is not None:
            return found
        with being_made(folder, _unfinished(folder)):
            found = open_corpus(folder, every_byte=every_byte)  # another process may have made it while this one waited
            if found is None:
                with _appearing_whole(folder) as unfinished:
                    if open_corpus(unfinished) is None:
                        _make(source, data, tokenizer, unfinished, progress)
                found = open_corpus(folder)
    assert found is not None
    return found


def cached(data: DataConfig, tokenizer: TokenizerConfig) -> Corpus | None:
    """The corpus when the cache has it; raises ConfigError for text that is missing."""
    return open_corpus(_cache_folder(open_source(data), data, tokenizer))


def cache_key(source: Source, data: DataConfig, tokenizer: TokenizerConfig) -> str:
    """Hash of everything that decides the tokens. Text enters by path, size and time, so that a hit reads no text."""
    settings = {name: value for name, value in asdict(data).items() if name in DECIDING}
    facts = [LAYOUT_VERSION, settings, source.name, source.identity(), tokenizer_identity(tokenizer)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _cache_folder(source: Source, data: DataConfig, tokenizer: TokenizerConfig) -> Path:
    key = cache_key(source, data, tokenizer)
    return Path(data.cache_dir) / f"{source.name}-{tokenizer.kind}-{tokenizer.vocab_size}-{key}"


def _unfinished(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.partial")


@contextmanager
def _appearing_whole(folder: Path) -> Iterator[Path]:
    """A folder of another name that takes its own name when the work succeeds, and waits for more when it does not."""
    unfinished = _unfinished(folder)
    unfinished.mkdir(exist_ok=True)
    yield unfinished
    remove_parts(unfinished)
    for path in unfinished.iterdir():
        flush_to_disk(path)  # a size alone would not tell what a power cut lost
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)


def _make(
    source: Source,
    data: DataConfig,
    config: TokenizerConfig,
    folder: Path,
    progress: Callable[[str, int], None],
) -> None:
    stream = DocumentStream(source, data)
    started = time.perf_counter()
    tokenizer = _tokenizer(config, stream, Path(data.cache_dir), folder, progress)
    tokenizer_seconds = time.perf_counter() - started
    valid, valid_counts = _pack_part(stream, "valid", tokenizer, folder, progress)
    train, train_counts = _pack_part(stream, "train", tokenizer, folder, progress)
    scale = {
        "unigram_bits_per_byte": unigram_bits_per_byte(train_counts, valid_counts),
        "gzip_bits_per_byte": gzip_bits_per_byte(_document_bytes(valid, tokenizer)),
    }
    statistics = {
        "source": {"name": source.name, "description": source.description},
        "tokenizer": {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint},
        "train": train.statistics,
        "valid": valid.statistics,
        "scale": scale,
        "seconds": {"tokenizer": tokenizer_seconds, "total": time.perf_counter() - started},
    }
    save_corpus(folder, statistics)


def _tokenizer(
    config: TokenizerConfig, stream: DocumentStream, cache: Path, folder: Path, progress: Callable[[str, int], None]
) -> Tokenizer:
    """The one that an interrupted preparation has used already, else a new one; kept in `folder` from here on."""
    if (used := open_tokenizer(folder)) is not None:
        return used
    tokenizer = build_tokenizer(config, lambda: reported(stream.read("train"), progress), cache)
    save_tokenizer(folder, tokenizer)
    return tokenizer


def reported(documents: Iterator[str], progress: Callable[[str, int], None]) -> Iterator[str]:
    """The documents, telling how much of them has been read."""
    done = 0
    for text in documents:
        done += len(text)
        progress("reading for the tokenizer", done)
        yield text
    progress("training the tokenizer", done)


def _pack_part(
    stream: DocumentStream, split: Split, tokenizer: Tokenizer, folder: Path, progress: Callable[[str, int], None]
) -> tuple[TokenFile, npt.NDArray[np.int64]]:
    counts = StreamCounts()
    packed, byte_counts = pack(stream.read(split, counts), tokenizer, folder, split, progress)
    if packed.statistics["documents"] == 0:
        raise no_document(split, stream.description)
    packed.statistics.update(asdict(counts))
    return packed, byte_counts


def _document_bytes(packed: TokenFile, tokenizer: Tokenizer) -> Iterator[bytes]:
    ends = [*packed.document_starts[1:], len(packed.tokens)]
    for start, end in zip(packed.document_starts, ends, strict=True):
        yield tokenizer.decode_bytes(packed.tokens[start:end].tolist())
