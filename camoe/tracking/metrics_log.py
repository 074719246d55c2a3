"""metrics.jsonl: one JSON object per record, the primary account of a run.

Every float is written so that reading it gives the same bits. NaN and the infinities, which JSON lacks, are the strings
"NaN", "Infinity" and "-Infinity": any JSON reader accepts the line, and pandas turns such a column into floats.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_STRINGS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class MetricsLog:
    """Appends records, each at once; a last line torn by a kill or a full disk is cut off when the file is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)  # a buffer would offer what a full disk refused again at the end
        self.truncate(_end_of_last_line(path))

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record: numbers, text, and nested lists of numbers."""
        text = json.dumps(_finite(dict(record)), allow_nan=False, separators=(",", ":"))
        line = text.encode() + b"\n"
        while line:  # a disk that is almost full takes a part
            line = line[os.write(self._file.fileno(), line) :]

    def position(self) -> int:
        """Bytes that are safely on disk; store it in the checkpoint and give it to `truncate`."""
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def truncate(self, position: int) -> None:
        """Forget what was written after `position`; ValueError when the file is shorter than that."""
        size = os.fstat(self._file.fileno()).st_size
        if size < position:
            raise ValueError(f"{self.path}: has {size} bytes, but the checkpoint was made at byte {position}")
        self._file.truncate(position)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """All records of a metrics.jsonl; a torn last line is left out."""
    with Path(path).open("rb") as file:
        return [record for record, _ in iterate_records(file.read())]


def last_record_with(path: str | Path, name: str) -> dict[str, Any]:
    """The newest record of a metrics.jsonl that has this name; empty where none has. Reads no other record."""
    key, found = json.dumps(name).encode() + b":", b"{}"
    with Path(path).open("rb") as file:
        for line in file:
            if key in line and line.endswith(b"\n"):
                found = line
    return parse_record(found)


def iterate_records(content: bytes, start: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """(record, byte position after it) for every complete line from `start` on."""
    while (end := content.find(b"\n", start)) >= 0:
        yield parse_record(content[start:end]), end + 1
        start = end + 1


def parse_record(line: bytes) -> dict[str, Any]:
    """One line back to its record."""
    return {name: _restored(value) for name, value in json.loads(line).items()}


def _finite(value: Any) -> Any:
    """JSON's form of a value, non-finite numbers as strings."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(item) for item in value]
    return _STRINGS.get(value, value) if isinstance(value, str) else value


def _end_of_last_line(path: Path) -> int:
    """Bytes up to and including the last newline."""
    return path.read_bytes().rfind(b"\n") + 1
