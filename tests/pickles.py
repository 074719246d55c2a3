"""A pickle that leaves a trace when somebody executes it."""

from __future__ import annotations

import pickle
from pathlib import Path


class Malicious:
    """Unpickling it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.trace,)


def pickled(trace: Path) -> bytes:
    """The bytes of a malicious pickle; executing it makes the file `trace`."""
    return pickle.dumps({"emb.weight": Malicious(trace)})
