"""Loss by how many tokens of its window a prediction was made from."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from camoe.inference.evaluation import Evaluation


@dataclass(frozen=True)
class PositionLoss:
    """By position in the window: 0 is the target behind a window's first token.

    nats: [T] float64, mean over the targets at this position, NaN where there are none. targets: [T] int64.
    """

    nats: npt.NDArray[np.float64]
    targets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, evaluation: Evaluation) -> PositionLoss:
        """Of every target of an evaluation."""
        windows = evaluation.windows
        sizes = windows.ends - windows.firsts
        position = windows.target_places - np.repeat(windows.starts, sizes) - 1
        targets = np.bincount(position, minlength=windows.ctx_len)
        sums = np.bincount(position, weights=evaluation.token_nats, minlength=windows.ctx_len)
        return cls(np.where(targets, sums / np.maximum(targets, 1), np.nan), targets)

    def bands(self) -> list[dict[str, float]]:
        """Positions 0, 1, 2-3, 4-7, ... with targets: first, last, mean nats, targets."""
        bounds = [0, *(2**power for power in range(int(np.log2(len(self.targets))) + 1)), len(self.targets)]
        found = []
        for first, end in pairwise(bounds):
            count = int(self.targets[first:end].sum())
            if count:
                total = float(np.nansum(self.nats[first:end] * self.targets[first:end]))
                found.append({"first": first, "last": end - 1, "nats": total / count, "targets": count})
        return found
