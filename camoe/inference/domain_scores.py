"""An evaluation domain by domain; together they are the whole of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from camoe.inference.document_scores import DocumentScores


@dataclass(frozen=True)
class DomainScore:
    """Sums over the documents of one domain: targets, UTF-8 bytes, nats."""

    domain: str
    documents: int
    tokens: int
    bytes: int
    nats: float

    @property
    def loss(self) -> float:
        """Nats per token."""
        return self.nats / self.tokens

    @property
    def bits_per_byte(self) -> float:
        """nats / (ln 2 * bytes)."""
        return self.nats / (math.log(2) * self.bytes) if self.bytes else math.nan


def domain_scores(scores: DocumentScores, domains: Sequence[str]) -> list[DomainScore]:
    """Of documents with these domains [all documents], the largest domain first."""
    names, domain = np.unique([domains[number] for number in scores.document], return_inverse=True)
    documents = np.bincount(domain)
    tokens, sizes = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    nats = np.zeros(len(names))
    for total, values in ((tokens, scores.tokens), (sizes, scores.bytes), (nats, scores.nats)):
        np.add.at(total, domain, values)
    found = [
        DomainScore(str(name), int(documents[i]), int(tokens[i]), int(sizes[i]), float(nats[i]))
        for i, name in enumerate(names)
    ]
    return sorted(found, key=lambda score: (-score.bytes, score.domain))
