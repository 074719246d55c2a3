"""From a source's documents to the ones that are packed: cleaned, each once, the two parts disjoint, cut to size."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from camoe.config import ConfigError
from camoe.config.data import DataConfig
from camoe.data.source import Source, Split

SURROGATES = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\ufffd"


@dataclass
class StreamCounts:
    """What was changed or left out of one part; shown with the statistics."""

    empty_dropped: int = 0
    duplicates_dropped: int = 0
    held_out_copies_dropped: int = 0
    nul_bytes_removed: int = 0
    surrogates_replaced: int = 0
    cut_at_byte_limit: bool = False
    bytes_by_domain: dict[str, int] = field(default_factory=dict)

    def add(self, domain: str, size: int) -> None:
        """Count the bytes of a document that is kept."""
        self.bytes_by_domain[domain] = self.bytes_by_domain.get(domain, 0) + size


class DocumentStream:
    """Documents of each part. Two documents are the same when they differ in white space only.

    A NUL byte is removed (id 0 separates documents in the byte tokenizer, and scores must be comparable between
    tokenizers), half of a surrogate pair becomes U+FFFD (it has no UTF-8 form); both are counted.
    """

    def __init__(self, source: Source, data: DataConfig) -> None:
        self._source = source
        self.description = source.description
        self._limits: dict[Split, int | None] = {"train": data.max_train_bytes, "valid": data.max_valid_bytes}

    def read(self, split: Split, counts: StreamCounts | None = None) -> Iterator[str]:
        """Documents of one part up to its limit in UTF-8 bytes, where the last one is cut."""
        return (text for _, text in self.labelled(split, counts))

    def labelled(
        self, split: Split, counts: StreamCounts | None = None, domain_field: str | None = None
    ) -> Iterator[tuple[str, str]]:
        """`read`, each document with its domain."""
        counts = counts if counts is not None else StreamCounts()
        limit = self._limits[split]
        used = 0
        for domain, text in self._distinct(split, counts, domain_field):
            content = text.encode()
            if limit is not None and used + len(content) > limit:
                counts.cut_at_byte_limit = True
                content = content[: limit - used].decode(errors="ignore").encode()
                if content:
                    counts.add(domain, len(content))
                    yield domain, content.decode()
                return
            used += len(content)
            counts.add(domain, len(content))
            yield domain, text

    def _distinct(
        self, split: Split, counts: StreamCounts, domain_field: str | None = None
    ) -> Iterator[tuple[str, str]]:
        held_out = self._held_out_digests if split == "train" else frozenset()
        seen: set[bytes] = set()
        for domain, raw in self._source.labelled(split, domain_field):
            text = _clean(raw, counts)
            digest = _digest(text)
            if not text.strip():
                counts.empty_dropped += 1
            elif digest in held_out:
                counts.held_out_copies_dropped += 1
            elif digest in seen:
                counts.duplicates_dropped += 1
            else:
                seen.add(digest)
                yield domain, text

    @cached_property
    def _held_out_digests(self) -> frozenset[bytes]:
        """The whole held-out part, also beyond its limit: the training part must not depend on that limit."""
        digests = frozenset(_digest(text) for _, text in self._distinct("valid", StreamCounts()))
        if not digests:
            raise no_document("valid", self.description)
        return digests


def no_document(split: Split, description: str) -> ConfigError:
    """The refusal of an empty part."""
    part = "held-out" if split == "valid" else "training"
    return ConfigError(
        f"data: no document in the {part} part of {description}; change data.valid_fraction, or give a folder with "
        "train.* and valid.*"
    )


def _clean(text: str, counts: StreamCounts) -> str:
    nul_bytes = text.count("\0")
    if nul_bytes:
        counts.nul_bytes_removed += nul_bytes
        text = text.replace("\0", "")
    text, replaced = SURROGATES.subn(REPLACEMENT, text)
    counts.surrogates_replaced += replaced
    return text


def _digest(text: str) -> bytes:
    return hashlib.blake2b(" ".join(text.split()).encode(), digest_size=16).digest()
