"""An interval for a mean difference that knows both sources of chance: seeds, and the documents it was measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

DRAWS = 10_000
BLOCKS = 1000  # documents beyond that many are drawn in blocks; the interval's width then errs by about 2 %
CHUNK = 1000  # draws at once


@dataclass(frozen=True)
class DocumentDifferences:
    """amount [S, D]: what the arm lost on each held-out document more than the reference, one row per pair of seeds.
    weight [D]: size of the document. The difference of a pair is sum(amount) / sum(weight).
    """

    amount: np.ndarray
    weight: np.ndarray


def bootstrap_interval(
    differences: np.ndarray,
    documents: DocumentDifferences | None = None,
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float, float]:
    """(low, high) of the mean of differences [S], S > 1: seeds are resampled, then documents where they are known.

    All seeds were scored on the same documents, so a draw takes one resample of documents for all of its seeds: the
    factors are crossed, and drawing documents anew for each seed would pretend to know more.

    Percentiles of resampled means are too narrow for few seeds, by sqrt((S-1)/S) and by using z where Student's t is
    due (Hesterberg 2015, "What teachers should know about the bootstrap"). Deviations of seeds from their mean are
    therefore stretched by sqrt(S/(S-1)) t/z before they are resampled; documents, which are many, are not.
    """
    random = np.random.default_rng(seed)
    n = len(differences)
    share = _counts(random, n, draws) / n
    if documents is None:
        means = share @ _stretched(differences, level)
    else:
        blocks = _in_blocks(documents, random)
        stretched = DocumentDifferences(_stretched(blocks.amount, level), blocks.weight)
        means = np.concatenate([_ratio(part, stretched, random) for part in np.array_split(share, -(-draws // CHUNK))])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _stretched(values: np.ndarray, level: float) -> np.ndarray:
    """Deviations from the mean over seeds (the first axis) made as long as those of Student's interval."""
    n, upper = len(values), (1 + level) / 2
    factor = np.sqrt(n / (n - 1)) * stats.t.ppf(upper, n - 1) / stats.norm.ppf(upper)
    mean = values.mean(0)
    return np.asarray(mean + factor * (values - mean))


def _counts(random: np.random.Generator, size: int, draws: int) -> np.ndarray:
    """[draws, size]: how often each of `size` members is in a resample of that many."""
    chosen = random.integers(size, size=(draws, size)) + size * np.arange(draws)[:, None]
    return np.bincount(chosen.ravel(), minlength=draws * size).reshape(draws, size)


def _ratio(share: np.ndarray, documents: DocumentDifferences, random: np.random.Generator) -> np.ndarray:
    """Mean difference of each draw; share [draws, S] of each seed in it."""
    counts = _counts(random, len(documents.weight), len(share)).astype(float)
    return np.asarray(((counts @ documents.amount.T) * share).sum(1) / (counts @ documents.weight))


def _in_blocks(documents: DocumentDifferences, random: np.random.Generator) -> DocumentDifferences:
    """At most BLOCKS sums over documents put together by chance."""
    size = len(documents.weight)
    if size <= BLOCKS:
        return documents
    order = random.permutation(size)
    starts = np.linspace(0, size, BLOCKS, endpoint=False).astype(int)
    amount = np.add.reduceat(documents.amount[:, order], starts, axis=1)
    return DocumentDifferences(amount, np.add.reduceat(documents.weight[order], starts))
