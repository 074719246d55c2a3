"""Which of several figures lie so far off that a scale with them would show nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FAR = 8.0
NORMAL = 1.4826  # standard deviations in a median absolute deviation of normal values


def off_scale(values: Sequence[float] | NDArray[np.float64], usual: float) -> NDArray[np.bool_]:
    """[N]: further from the median than FAR times the spread of the others, which counts as `usual` at the least.

    Never more than half of the figures; none of what is not finite.
    """
    found = np.asarray(values, dtype=float)
    known = found[np.isfinite(found)]
    if not known.size:
        return np.zeros(found.shape, dtype=bool)
    middle = np.median(known)
    spread = max(NORMAL * float(np.median(np.abs(known - middle))), usual)
    return np.asarray(np.isfinite(found) & (np.abs(found - middle) > FAR * spread))
