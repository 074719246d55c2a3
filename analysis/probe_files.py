"""probe/ of a run folder: who served a fixed set of held-out tokens at every evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from camoe.config import ConfigError
from camoe.config.refusal import refused_as


@dataclass(frozen=True)
class Probe:
    """Readings of N tokens at S evaluations.

    text: one row per token: input, target (ids), document, occurrences (of the input's id in all of the held-out text).
    steps: [S]. winners: [S,L,N,K], in falling order of their bids. nats: [S,N].
    """

    text: pd.DataFrame
    steps: NDArray[np.int64]
    winners: NDArray[np.integer[Any]]
    nats: NDArray[np.float32]


def read_probe(folder: str | Path) -> Probe:
    """The probe of a run, finished or not; ConfigError where it kept none."""
    place = Path(folder) / "probe"
    files = sorted(place.glob("step_*.npz"))
    if not files:
        raise ConfigError(f"{place}: no readings; tracking.probe_tokens is 0, or nothing has been evaluated yet")
    with refused_as(f"{place}: not the readings of a probe"):
        readings = [_arrays(file) for file in files]
        return Probe(
            text=pd.DataFrame(_arrays(place / "tokens.npz")),
            steps=np.array([int(file.stem.removeprefix("step_")) for file in files]),
            winners=np.stack([reading["winners"] for reading in readings]),
            nats=np.stack([reading["nats"] for reading in readings]),
        )


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)
