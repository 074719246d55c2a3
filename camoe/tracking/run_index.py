"""Finding runs by the names of their folders, which tell when they began and their signature: no file is read."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import datetime
from pathlib import Path

DAY = re.compile(r"\d{4}-\d\d-\d\d")
NAME = re.compile(r"(?P<time>\d\d-\d\d-\d\d)-.+-(?P<signature>[0-9a-f]{10})(-(?P<number>\d+))?")


class RunIndex:
    """The run folders below an output folder as they were when it was made, newest first."""

    def __init__(self, output_dir: str | Path) -> None:
        found: dict[str, list[tuple[str, str, int, Path]]] = defaultdict(list)
        root = Path(output_dir).resolve()
        for day in root.iterdir() if root.is_dir() else ():
            if DAY.fullmatch(day.name):
                for path in day.iterdir():
                    if match := NAME.fullmatch(path.name):
                        order = (day.name, match["time"], int(match["number"] or 1))
                        found[match["signature"]].append((*order, path))
        self._found = {signature: sorted(runs, reverse=True) for signature, runs in found.items()}

    def signed(self, signature: str, since: datetime | None = None) -> list[Path]:
        """Folders whose name ends in this signature, made at or after `since` (to the second)."""
        earliest = since.strftime("%Y-%m-%d %H-%M-%S") if since else ""
        return [path for day, time, _, path in self._found.get(signature, []) if f"{day} {time}" >= earliest]

    def everything(self) -> list[Path]:
        """The folders of all runs, oldest first."""
        return [path for *_, path in sorted(run for runs in self._found.values() for run in runs)]
