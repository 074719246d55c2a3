"""Arrays on disk, whole or not there at all, and the same bytes for the same values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camoe.tracking.atomic_file import replacing


def save_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """A compressed .npz; its folder is made."""
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def save_table(path: Path, columns: Mapping[str, NDArray[np.generic]]) -> None:
    """A parquet file of columns of one length."""
    import pyarrow as pa  # only here: a training process need not carry it
    import pyarrow.parquet as pq

    with replacing(path) as unfinished:
        pq.write_table(pa.table(dict(columns)), unfinished)
