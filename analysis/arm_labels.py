"""Labels of runs that no sweep has labelled: what their command lines changed, apart from what all of them changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

NO_ARM = ("seed=", "seeds.", "name=", "output_dir=", "tracking", "analysis.", "sweep=", "arm=", "force=", "resume=")
UNCHANGED = "default"


def labels(folders: Sequence[Path | None]) -> list[str]:
    """One label per run folder: its own overrides, without seeds and what changes no result; else `default`."""
    every = [_overrides(folder) for folder in folders]
    shared = set(every[0]).intersection(*every[1:]) if len(every) > 1 else set()
    return [", ".join(o for o in overrides if o not in shared) or UNCHANGED for overrides in every]


def _overrides(folder: Path | None) -> list[str]:
    file = None if folder is None else folder / "overrides.yaml"
    if file is None or not file.is_file():
        return []
    try:
        listed = yaml.safe_load(file.read_text(encoding="utf-8")) or []
    except yaml.YAMLError:
        return []
    return [str(override) for override in listed if not str(override).lstrip("+~").startswith(NO_ARM)]
