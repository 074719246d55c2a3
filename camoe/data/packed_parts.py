"""The finished parts of what is being packed: each is whole or absent, so that a kill loses the last one alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from camoe.data.flushed import flush_to_disk

FOLDER = "parts"


class PackedParts:
    """The parts of one split below a folder, in order: arrays by name. One process at a time may add to them."""

    def __init__(self, folder: Path, split: str) -> None:
        self._folder, self._split = folder / FOLDER, split
        self._folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def _finished(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self._split}.*.npz"))

    def __len__(self) -> int:
        return len(self._finished)

    def __iter__(self) -> Iterator[dict[str, npt.NDArray[Any]]]:
        for path in self._finished:
            with np.load(path, allow_pickle=False) as stored:
                yield {name: stored[name] for name in stored.files}

    def each(self, name: str) -> Iterator[npt.NDArray[Any]]:
        """One array of every part; the others are not read."""
        for path in self._finished:
            with np.load(path, allow_pickle=False) as stored:
                yield stored[name]

    def add(self, part: Mapping[str, Any]) -> None:
        """Write the next part under another name, flush it to the disk, and only then give it its own."""
        path = self._folder / f"{self._split}.{len(self._finished):06d}.npz"
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            np.savez(file, **part)
        flush_to_disk(unfinished)
        os.replace(unfinished, path)
        self._finished.append(path)


def remove_parts(folder: Path) -> None:
    """What nobody needs once the token files are made of them."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
