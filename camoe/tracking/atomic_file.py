"""Small files that are either the old version or the new one, never half of each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Any) -> None:
    """The content as indented JSON."""
    write_text(path, json.dumps(content, indent=2, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """The text as UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write beside the file, then rename over it; a kill at any moment leaves a readable file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def read_json(path: Path) -> Any:
    """The content, or None when there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
