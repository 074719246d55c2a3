"""What every tokenizer offers: text to ids and back, where an id always stands for the same bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

SEPARATOR = 0
UNKNOWN = "\ufffd".encode()


class Tokenizer(ABC):
    """Ids 0 .. vocab_size-1; id 0 separates documents, is never the result of encoding and stands for no bytes."""

    kind: str
    vocab_size: int

    @property
    def name(self) -> str:
        """'byte-256', 'bpe-4096', 'rwkv_world-65536'."""
        return f"{self.kind}-{self.vocab_size}"

    @property
    @abstractmethod
    def token_bytes(self) -> Sequence[bytes]:
        """The bytes of each id, [vocab_size]; empty for the separator and for ids without a meaning."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 of what decides the ids; equal fingerprints give equal ids for every text."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of a text, without separators."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Everything `tokenizer_store.from_json` needs to build this tokenizer again."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text; a tokenizer that can do several at once overrides it."""
        return [self.encode(text) for text in texts]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of any ids; one outside the vocabulary becomes U+FFFD."""
        table = self.token_bytes
        return b"".join(table[i] if 0 <= i < len(table) else UNKNOWN for i in map(int, ids))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of any ids; bytes that are not UTF-8 become U+FFFD. Never raises."""
        return self.decode_bytes(ids).decode(errors="replace")

    @cached_property
    def byte_lengths(self) -> npt.NDArray[np.int64]:
        """Bytes of each id, [vocab_size], for exact bits per byte."""
        return np.fromiter(map(len, self.token_bytes), dtype=np.int64, count=self.vocab_size)
