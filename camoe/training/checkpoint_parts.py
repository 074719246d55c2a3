"""The tensors of a checkpoint that several ranks hold parts of: each writes its own, whoever reads joins them.

Written by torch.distributed.checkpoint as safetensors whose headers say where in the tensor a part lies, so nothing is
ever unpickled and no process group is needed to read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

PARTS = "parts"
"""Folder inside a checkpoint's."""
HEADER, OFFSETS = "DCP_SHARDING_INFO", "saved_offsets"  # torch.distributed.checkpoint._hf_utils


def write_parts(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """This rank's parts of divided `tensors`; all ranks call together, and all fail with the error of one."""
    from torch.distributed import checkpoint  # slow to import
    from torch.distributed.checkpoint.api import CheckpointException

    writer = checkpoint.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        checkpoint.save(dict(tensors), storage_writer=writer)
    except CheckpointException as error:  # no Exception, and a page long
        rank, (first, _) = min(error.failures.items())
        if isinstance(first, OSError) and first.errno is not None:
            raise OSError(first.errno, first.strerror, str(folder)) from first
        raise RuntimeError(f"rank {rank} could not write its part of a checkpoint: {first}") from first


class _Part(NamedTuple):
    file: Any
    offsets: list[int]
    shape: list[int]


class JoinedTensors(Mapping[str, Tensor]):
    """Tensors on the CPU, some of them joined from parts as they are asked for, so that never all of them are held."""

    def __init__(self, folder: Path, name: str, whole: Mapping[str, Tensor]) -> None:
        """Those saved under `name`; `whole` are not divided."""
        self._whole, self._prefix = whole, f"{name}/"
        self._parts: dict[str, list[_Part]] = {}
        for path in sorted(folder.glob("*.safetensors")):
            file = safe_open(path, "pt")
            offsets = json.loads(file.metadata()[HEADER])
            for key in file.keys():  # noqa: SIM118 - no mapping
                if key.startswith(self._prefix):
                    part = _Part(file, offsets[key][OFFSETS], file.get_slice(key).get_shape())
                    self._parts.setdefault(key.removeprefix(self._prefix), []).append(part)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._parts:
            return self._whole[name]
        parts, key = self._parts[name], self._prefix + name
        ends = [[start + size for start, size in zip(part.offsets, part.shape, strict=True)] for part in parts]
        pieces = [part.file.get_tensor(key) for part in parts]
        joined = torch.empty([max(end) for end in zip(*ends, strict=True)], dtype=pieces[0].dtype)
        for part, end, piece in zip(parts, ends, pieces, strict=True):
            joined[tuple(map(slice, part.offsets, end))] = piece
        return joined

    def __iter__(self) -> Iterator[str]:
        yield from self._whole
        yield from self._parts

    def __len__(self) -> int:
        return len(self._whole) + len(self._parts)
