"""Arrays on disk, whole or not there at all, and the same bytes for the same values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def save_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """A compressed .npz; its folder is made."""
    path.parent.mkdir(exist_ok=True)
    unfinished = _unfinished(path)
    with unfinished.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    unfinished.replace(path)


def save_table(path: Path, columns: Mapping[str, NDArray[np.generic]]) -> None:
    """A parquet file of columns of one length."""
    import pyarrow as pa  # only here: a training process need not carry it
    import pyarrow.parquet as pq

    unfinished = _unfinished(path)
    pq.write_table(pa.table(dict(columns)), unfinished)
    unfinished.replace(path)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")
