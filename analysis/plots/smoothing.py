"""Noisy series made readable."""

from __future__ import annotations

import numpy as np

from analysis.plots.style import Array

COLUMNS = 160  # of a map over time


def running_mean(values: Array, window: int) -> Array:
    """[T,...]: mean of the value and the window - 1 before it, of fewer at the beginning; NaN counts as absent."""
    known = np.isfinite(values)
    total = np.cumsum(np.where(known, values, 0.0), axis=0)
    count = np.cumsum(known, axis=0)
    total[window:], count[window:] = total[window:] - total[:-window], count[window:] - count[:-window]
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def window_for(n: int) -> int:
    """A thirtieth of a series."""
    return max(1, n // 30)


def evenly(tokens: Array, values: Array, columns: int = COLUMNS) -> Array:
    """[T,...] at uneven places -> [C,...], C <= columns equal parts of 0 to the last place: the mean of each part.

    A part without a value repeats the one before it, at the beginning the first.
    """
    count = min(columns, len(tokens))
    part = np.clip(np.ceil(tokens / tokens[-1] * count).astype(int) - 1, 0, count - 1) if tokens[-1] > 0 else 0 * tokens
    filled = np.unique(part).astype(int)
    means = np.stack([values[part == index].mean(axis=0) for index in filled])
    latest = np.clip(np.searchsorted(filled, np.arange(count), side="right") - 1, 0, None)
    return np.asarray(means[latest])
