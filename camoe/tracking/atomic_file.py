"""Small files that are either the old version or the new one, never half of each."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from camoe.data.flushed import flush_to_disk

_UNFINISHED = re.compile(r"\..+\.(\d+)")


def write_json(path: Path, content: Any) -> None:
    """The content as indented JSON."""
    write_text(path, json.dumps(content, indent=2, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """The text as UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write beside the file, then rename over it; a kill or a power cut at any moment leaves a readable file."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write, which becomes `path` at the end, or goes away when writing fails."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield unfinished
        flush_to_disk(unfinished)  # else a power cut can leave the name, and nothing in it
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def remove_unfinished(folder: Path) -> None:
    """What processes that were killed had begun to write, anywhere below."""
    for path in list(folder.rglob(".*")):
        found = _UNFINISHED.fullmatch(path.name)
        if found and path.is_file() and not psutil.pid_exists(int(found[1])):
            path.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """The content, or None when there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
