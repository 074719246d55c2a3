"""Prepared text: everything a trainer needs of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from camoe.data.token_file import TokenFile
from camoe.data.tokenizer import Tokenizer
from camoe.data.tokenizer_store import from_json, write_json

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


def open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer that `save_tokenizer` left there."""
    return from_json(json.loads(tokenizer_path(folder).read_text(encoding="utf-8")))


def open_corpus(folder: Path) -> Corpus | None:
    """The corpus in `folder`, or None when there is none or it is not whole."""
    if not (folder / MANIFEST).is_file():
        return None
    statistics = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    train, valid = TokenFile(folder, statistics["train"]), TokenFile(folder, statistics["valid"])
    if not (train.is_whole() and valid.is_whole()):
        return None
    return Corpus(folder, open_tokenizer(folder), train, valid, statistics)
