"""Packed tokens on disk: one memory-mapped array, and where its documents are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

DAMAGED_ARRAYS = (ValueError, KeyError, EOFError, BadZipFile)
"""What numpy raises for an .npz file that is damaged, or lacks an array."""


@dataclass(frozen=True)
class TokenFile:
    """The tokens of one part: 0 d1 0 d2 0 ... dD 0, where d is a document's tokens and 0 the separator.

    So every token of text, and every document's end, is the target of a prediction.
    """

    path: Path
    statistics: dict[str, Any]

    @cached_property
    def tokens(self) -> npt.NDArray[Any]:
        """[N] uint16 (uint32 for more than 65,536 ids), read only, mapped from disk."""
        return np.memmap(self.path, dtype=np.dtype(self.statistics["dtype"]), mode="r")

    @cached_property
    def document_starts(self) -> npt.NDArray[np.int64]:
        """[D] index of each document's first token of text."""
        return self._documents["starts"]

    @cached_property
    def document_bytes(self) -> npt.NDArray[np.int64]:
        """[D] UTF-8 bytes of each document's text."""
        return self._documents["bytes"]

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of all documents together."""
        return self.statistics["bytes"]

    @property
    def sha256(self) -> str:
        """Hash of the tokens, as bytes on disk."""
        return self.statistics["sha256"]

    def is_whole(self) -> bool:
        """Whether the file on disk has the size that its statistics state, and its documents are known."""
        expected = self.statistics["tokens"] * np.dtype(self.statistics["dtype"]).itemsize
        try:
            return self.path.stat().st_size == expected and len(self.document_starts) == len(self.document_bytes)
        except (FileNotFoundError, *DAMAGED_ARRAYS):
            return False

    def is_unaltered(self) -> bool:
        """Whether every byte on disk is as it was packed; reads all of them."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256

    @cached_property
    def _documents(self) -> dict[str, npt.NDArray[np.int64]]:
        with np.load(documents_path(self.path), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}


def tokens_path(folder: Path, split: str) -> Path:
    """Where the tokens of a part lie."""
    return folder / f"{split}.bin"


def documents_path(tokens: Path) -> Path:
    """Where the document table of a token file lies."""
    return tokens.with_suffix(".documents.npz")


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest little-endian type that holds every id."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")
