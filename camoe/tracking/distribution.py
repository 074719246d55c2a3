"""How evenly an amount is spread over experts. Arrays are [...,E] with E last; results drop that dimension."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def shares(amount: Array) -> Array:
    """Amounts divided by their sum; zeros when the sum is zero."""
    total = amount.sum(-1, keepdims=True)
    return np.divide(amount, total, out=np.zeros_like(amount), where=total != 0)


def entropy(probability: Array) -> Array:
    """-sum p log p in nats; 0 log 0 = 0."""
    logs = np.log(probability, out=np.zeros_like(probability), where=probability > 0)
    return np.asarray(-(probability * logs).sum(-1))


def normalised_entropy(probability: Array) -> Array:
    """Entropy / log E, in 0..1; 1 for a single expert, which cannot be spread unevenly."""
    n = probability.shape[-1]
    return entropy(probability) / math.log(n) if n > 1 else np.ones(probability.shape[:-1])


def gini(amount: Array) -> Array:
    """sum_i (2i - E - 1) x_(i) / (E sum x), x ascending, i from 1; 0 is even, (E-1)/E is one owner of everything."""
    n = amount.shape[-1]
    rank = 2 * np.arange(1, n + 1) - n - 1
    return np.asarray((rank * shares(np.sort(amount, axis=-1))).sum(-1) / n)


def coefficient_of_variation(amount: Array) -> Array:
    """Standard deviation over mean."""
    return np.asarray(amount.std(-1) / np.maximum(amount.mean(-1), np.finfo(float).tiny))


def expected_maximum(n: int) -> float:
    """E[max of n standard normals], the integral of x n phi(x) Phi(x)^(n-1)."""
    x = np.linspace(-8.0, 8.0, 2001)
    density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    below = np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])
    return float((x * n * density * below ** (n - 1)).sum() * (x[1] - x[0]))


def maxvio_of_chance(tokens: float, n_expert: int, k: float) -> float:
    """MaxVio that counting noise alone gives a uniformly random router: m_E sqrt((1 - k/E) E/(k N) E/(E-1)).

    n_e is binomial with share k/E; the last factor is due to the fixed sum of counts. m_E = expected_maximum(E).
    """
    if n_expert == 1 or not 0 < k < n_expert or tokens <= 0:
        return 0.0
    spread = math.sqrt((1 - k / n_expert) * n_expert / (k * tokens) * n_expert / (n_expert - 1))
    return expected_maximum(n_expert) * spread
