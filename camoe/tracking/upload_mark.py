"""How far a run's metrics.jsonl has been sent to MLflow, and what is still to send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from camoe.tracking.atomic_file import read_json, write_json
from camoe.tracking.metrics_log import parse_record


@dataclass(frozen=True)
class UploadMark:
    """Content of mlflow.json: the store and the run that the folder was last sent to, and how far.

    The last record sent is number `count` (from 1) among those of `step`.
    """

    uri: str
    run_id: str
    step: int = -1
    count: int = 0

    @classmethod
    def load(cls, path: Path) -> UploadMark | None:
        """The mark of an earlier process, if any."""
        content = read_json(path)
        return None if content is None else cls(**{field.name: content[field.name] for field in fields(cls)})

    def save(self, path: Path) -> None:
        """Replace the file in one move."""
        write_json(path, asdict(self))

    def covers(self, step: int, count: int) -> bool:
        """Whether that record has been sent."""
        return (step, count) <= (self.step, self.count)


@dataclass(frozen=True)
class Position:
    """A place in metrics.jsonl: bytes read, and which record of which step was the last one before it."""

    offset: int = 0
    step: int = -1
    count: int = 0


class RecordTail:
    """Follows a metrics.jsonl that somebody else appends to; only complete lines are seen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = Position()

    def ahead(self) -> Iterator[tuple[dict[str, Any], Position]]:
        """Records after `position`, each with the position behind it. Assign `position` to move on."""
        if not self.path.exists():
            return
        here = self.position
        with self.path.open("rb") as file:
            file.seek(here.offset)
            while (line := file.readline()).endswith(b"\n"):
                record = parse_record(line)
                count = here.count + 1 if record["step"] == here.step else 1
                here = Position(here.offset + len(line), record["step"], count)
                yield record, here

    def unsent(self, mark: UploadMark) -> int:
        """How many complete records the mark does not cover."""
        return sum(not mark.covers(here.step, here.count) for _, here in self.ahead())
