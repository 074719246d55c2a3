"""Where a job writes a file that the user named: refused before any work where it cannot lie, or lies on another."""

from __future__ import annotations

from pathlib import Path

from camoe.config import ConfigError

SAFETENSORS_HEADER = slice(8, 9)  # after its length begins a JSON object


def refuse_overwriting(setting: str, path: Path, begins: bytes, where: slice = slice(0, None)) -> None:
    """ConfigError for a folder, a place in no folder, and a file whose bytes at `where` are not `begins`."""
    nearest = next(place for place in path.absolute().parents if place.exists())
    if path.is_dir() or not nearest.is_dir():
        raise ConfigError(f"{setting}: {path} is no file in a folder; name a file")
    if not path.exists():
        return
    with path.open("rb") as file:
        found = file.read(64)[where][: len(begins)]
    if found != begins:
        raise ConfigError(f"{setting}: {path} exists and was not made by this job; name another file, or remove it")
