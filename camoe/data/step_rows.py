"""What one optimiser step reads, whatever the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class StepRows:
    """tokens: [G,T+1]. learned: [G,T], true where a target counts; None: everywhere. items: dialogues or pairs."""

    tokens: npt.NDArray[np.int64]
    learned: npt.NDArray[np.bool_] | None = None
    items: npt.NDArray[np.int64] | None = None

    @property
    def places(self) -> int:
        """G x T, what the model reads, padding included."""
        return self.tokens.shape[0] * (self.tokens.shape[1] - 1)

    @property
    def targets(self) -> int:
        """Targets that count."""
        return self.places if self.learned is None else int(self.learned.sum())
