"""The finished parts of a token file that is being made: each is whole or absent, so that a kill loses the last."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDER = "parts"


@dataclass(frozen=True)
class Part:
    """Some documents in a row.

    tokens: [n] with a separator behind each document; lengths, sizes: [D] tokens without it, and UTF-8 bytes;
    byte_counts: [256] occurrences of each byte value.
    """

    tokens: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    byte_counts: npt.NDArray[np.int64]


class PackedParts:
    """The parts of one split below a folder, in order. One process at a time may add to them."""

    def __init__(self, folder: Path, split: str) -> None:
        self._folder, self._split = folder / FOLDER, split
        self._folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def _finished(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self._split}.*.npz"))

    def __iter__(self) -> Iterator[Part]:
        for path in self._finished:
            with np.load(path, allow_pickle=False) as stored:
                yield Part(**{name: stored[name] for name in stored.files})

    def done(self) -> tuple[int, int]:
        """Documents and UTF-8 bytes of text in the finished parts."""
        documents = size = 0
        for path in self._finished:
            with np.load(path, allow_pickle=False) as stored:
                documents += len(stored["sizes"])
                size += int(stored["sizes"].sum())
        return documents, size

    def add(self, part: Part) -> None:
        """Write the next part under another name, flush it to the disk, and only then give it its own."""
        path = self._folder / f"{self._split}.{len(self._finished):06d}.npz"
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            np.savez(file, **vars(part))
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        self._finished.append(path)


def remove_parts(folder: Path) -> None:
    """What nobody needs once the token files are made of them."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
