"""A running hash of the sequences that a run has trained on, whose whole state is one number and one digest."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

DIGEST_BYTES = 16


class StreamHash:
    """digest_0 = 0, digest_{i+1} = blake2b(digest_i, tokens of sequence i as little-endian uint32)."""

    def __init__(self, sequences: int = 0, digest: str = "00" * DIGEST_BYTES) -> None:
        self.sequences = sequences
        self.digest = digest

    def add(self, tokens: npt.NDArray[Any]) -> None:
        """Take in the next sequence, [T+1]."""
        content = bytes.fromhex(self.digest) + tokens.astype(np.dtype("<u4")).tobytes()
        self.digest = hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest()
        self.sequences += 1

    def state_dict(self) -> dict[str, Any]:
        return {"sequences": self.sequences, "digest": self.digest}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> StreamHash:
        return cls(state["sequences"], state["digest"])
