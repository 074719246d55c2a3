"""What a benchmark found: figures over documents, as a whole and by what a field of the documents says of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class BenchmarkFigure:
    """One metric of one task over n documents; `error` is its standard error, NaN where none is known.

    part: of which of them, in words; empty: of all.
    """

    task: str
    metric: str
    value: float
    error: float
    n: int
    part: str = ""


@dataclass(frozen=True)
class DocumentFigures:
    """One metric of a task document by document, and what makes one number of them.

    values: what the task found for each. groups: the value of a field of each, None without it.
    """

    task: str
    metric: str
    aggregate: Callable[[Sequence[Any]], float]
    values: Sequence[Any]
    groups: Sequence[str] | None

    def figures(self, field: str) -> Iterator[BenchmarkFigure]:
        """That of all documents, of those of each value of `field`, and the mean of the latter, which weigh the same.

        The mean of G independent figures with errors e has error sqrt(sum e^2) / G.
        """
        yield self._of(self.values, "")
        if self.groups is None:
            return
        parts = [self._of(values, f"{field}={name}") for name, values in self._by_group().items()]
        value = float(np.mean([part.value for part in parts]))
        error = math.sqrt(sum(part.error**2 for part in parts)) / len(parts)
        yield BenchmarkFigure(self.task, self.metric, value, error, len(self.values), f"mean over {field}")
        yield from parts

    def _of(self, values: Sequence[Any], part: str) -> BenchmarkFigure:
        value = float(self.aggregate(values))
        error = standard_error(self.aggregate.__name__, value, values)
        return BenchmarkFigure(self.task, self.metric, value, error, len(values), part)

    def _by_group(self) -> Mapping[str, list[Any]]:
        """Values by group, in the order in which groups come."""
        found: dict[str, list[Any]] = {}
        for group, value in zip(self.groups or (), self.values, strict=True):
            found.setdefault(group, []).append(value)
        return found


def standard_error(aggregation: str, value: float, documents: Sequence[Any]) -> float:
    """Of an aggregate over documents drawn at random; NaN for fewer than two, or an aggregation not known here.

    A mean has s / sqrt(n) with s^2 = sum (x - mean)^2 / (n - 1). A perplexity is exp(-mean), whose error is, to first
    order, itself times that of the mean. Per word or byte a mean is a ratio of sums, linearised as in `DocumentScores`.
    """
    values, weights = _weighted(documents) if aggregation in _ERRORS and len(documents) > 1 else (None, None)
    if values is None or weights is None:
        return math.nan
    count, ratio = len(values), values.sum() / weights.sum()
    error = math.sqrt(count / (count - 1) * float(((values - ratio * weights) ** 2).sum())) / float(weights.sum())
    return error * _ERRORS[aggregation](value)


_ERRORS = {
    "mean": lambda _: 1.0,
    "perplexity": lambda value: value,
    "weighted_perplexity": lambda value: value,
    "bits_per_byte": lambda _: 1 / math.log(2),
}


def _weighted(documents: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Values and weights [n] of (value, weight) or of plain values, which weigh 1 each."""
    pairs = np.array([one if isinstance(one, (tuple, list)) else (one, 1) for one in documents], dtype=np.float64)
    return pairs[:, 0], pairs[:, 1]
