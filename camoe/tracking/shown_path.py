"""How a path is shown to a person: short where it can be."""

from __future__ import annotations

from pathlib import Path


def shown_path(path: Path) -> Path:
    """Relative to the working directory where it lies below it, so that it can be copied as it stands."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
