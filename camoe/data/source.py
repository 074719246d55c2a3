"""What every source of text offers: documents of two parts, and an identity that changes with its content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, Protocol

Split = Literal["train", "valid"]


class Source(Protocol):
    """Real text in a fixed order, cut into a training part and a held-out part; `description` is for people."""

    name: str
    description: str

    def identity(self) -> list[list[str | int]]:
        """JSON-ready facts that change when the documents may have changed; cheap, reads no content."""

    def fetch(self, progress: Callable[[str, int], None]) -> None:
        """Bring here what lies elsewhere and has not been brought yet, telling (stage, bytes so far)."""

    def labelled(self, split: Split, domain_field: str | None = None) -> Iterator[tuple[str, str]]:
        """(domain, text) of each document of one part, in the same order every time.

        The domain is what the source calls it, or the value of `domain_field`; ConfigError where it has no fields.
        """


def hash_share(content: bytes) -> float:
    """A number in [0, 1) that depends on the content alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64


def split_of(content: bytes, valid_fraction: float) -> Split:
    """The part that a document (or the key of one) belongs to."""
    return "valid" if hash_share(content) < valid_fraction else "train"


def file_identity(path: Path) -> list[str | int]:
    """Path, size in bytes and modification time in ns: content is not read, it may be large."""
    status = path.stat()
    return [str(path), status.st_size, status.st_mtime_ns]
