"""The run folders below an output directory."""

from __future__ import annotations

from pathlib import Path

from camoe.config import ConfigError
from camoe.tracking.run_folder import REQUIRED, RunFolder


def run_folders(output_dir: str | Path) -> list[RunFolder]:
    """Every run folder, oldest first; folders that a kill left half made are none. ConfigError when there is none."""
    found = sorted(file.parent for file in Path(output_dir).glob(f"[0-9]*-*-*/*/{REQUIRED[0]}"))
    folders = [RunFolder.open(path) for path in found if all((path / name).is_file() for name in REQUIRED)]
    if not folders:
        raise ConfigError(f"output_dir: no run folders in {output_dir}; runs are in output_dir/<date>/<run>")
    return folders
