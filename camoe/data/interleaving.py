"""Several streams drawn into one, so that every stretch of it holds the shares that the weights ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")
SLACK_ITEMS = 8.0


def interleave(
    streams: Mapping[str, Iterator[Item]], weights: Mapping[str, float], size: Callable[[Item], int], seed: int
) -> Iterator[tuple[str, Item]]:
    """(name, item) in an order that seed and streams decide; ends when the stream whose turn it is has ended.

    With w_i the normalised weights, n_i the sum of sizes drawn from stream i so far and m the mean size of all items
    drawn, the next item comes from stream i with probability in proportion to

        max(0, w_i (sum_j n_j + 8 m) - n_i),

    what it lacks of its share of a text that is eight items longer. So shares of size, not of items, follow the
    weights, and none strays from its own by more than about eight items.
    """
    names = list(streams)
    share = np.array([weights[name] for name in names], dtype=np.float64)
    share /= share.sum()
    drawn, items = np.zeros(len(names)), 0
    generator = np.random.default_rng(seed)
    while True:
        total = float(drawn.sum())
        mean = total / items if items else 1.0
        lacks = np.maximum(share * (total + SLACK_ITEMS * mean) - drawn, 0.0)
        chosen = int(np.searchsorted(np.cumsum(lacks), generator.random() * lacks.sum(), side="right"))
        chosen = min(chosen, len(names) - 1)  # rounding at the upper end
        item = next(streams[names[chosen]], None)
        if item is None:
            return
        yield names[chosen], item
        drawn[chosen] += size(item)
        items += 1
