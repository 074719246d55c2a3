"""Prepared text: everything a trainer needs of it."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from camoe.data.token_file import TokenFile, tokens_path
from camoe.data.tokenizer import Tokenizer
from camoe.data.tokenizer_store import NOT_OF_THIS_FORM, read_tokenizer, write_json

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Corpus:
    """Training and held-out tokens that share no document, and the tokenizer that made them."""

    folder: Path
    tokenizer: Tokenizer
    train: TokenFile
    valid: TokenFile
    statistics: dict[str, Any]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of tokenizer and tokens; does not depend on where the text or the cache lies."""
        parts = (self.tokenizer.fingerprint, self.train.sha256, self.valid.sha256)
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def save_corpus(folder: Path, statistics: dict[str, Any]) -> None:
    """Write the manifest, last of all, beside the tokenizer and the token files that are already there."""
    write_json(folder / MANIFEST, statistics)


def tokenizer_path(folder: Path) -> Path:
    """Where the tokenizer of a corpus lies."""
    return folder / TOKENIZER


def save_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    write_json(tokenizer_path(folder), tokenizer.to_json())


def open_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer that `save_tokenizer` left there, or None when there is none or it is damaged."""
    return read_tokenizer(tokenizer_path(folder))


def open_corpus(folder: Path, *, every_byte: bool = False) -> Corpus | None:
    """The corpus in `folder`, or None when there is none or it is damaged, which a warning says.

    Sizes and forms tell, without reading the tokens; with `every_byte` their hashes too.
    """
    if not (folder / MANIFEST).is_file():
        return None
    corpus = _whole_corpus(folder)
    if corpus is None or (every_byte and not (corpus.train.is_unaltered() and corpus.valid.is_unaltered())):
        log.warning("prepared text in %s is damaged", folder)
        return None
    return corpus


def _whole_corpus(folder: Path) -> Corpus | None:
    tokenizer = open_tokenizer(folder)
    try:
        statistics = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        train, valid = (TokenFile(tokens_path(folder, split), statistics[split]) for split in ("train", "valid"))
        whole = train.is_whole() and valid.is_whole()
    except NOT_OF_THIS_FORM:
        return None
    return Corpus(folder, tokenizer, train, valid, statistics) if whole and tokenizer is not None else None
