"""A local copy of a hub data set's records, made once; a killed or disconnected one goes on where it stood."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from camoe.config import ConfigError
from camoe.config.text_source import SourceConfig
from camoe.data.cache_folder import make_writable
from camoe.data.flushed import flush_to_disk
from camoe.data.hub_stream import HubStream
from camoe.data.record_file import json_objects
from camoe.data.tokenizer_store import write_json

LAYOUT_VERSION = 1
PART_BYTES = 1 << 26
JOURNAL = "journal.json"
GZIP_LEVEL = 3


@dataclass(frozen=True)
class Journal:
    """parts: sha256 of the records of each finished one; position: in the stream, behind the last of them.

    records, bytes: in all of them, UTF-8 bytes of text. complete: whether this is all that is wanted.
    """

    parts: list[str]
    position: dict[str, Any]
    records: int = 0
    bytes: int = 0
    complete: bool = False


class HubCopy:
    """One split of a data set: the fields that are wanted, as JSON lines in parts, with a journal written last."""

    def __init__(self, source: SourceConfig, split: str, fields: Sequence[str], setting: str, cache_dir: Path) -> None:
        """`fields`: the ones to keep of each record where it has them; `setting` is named in refusals."""
        assert source.dataset is not None
        self.stream = HubStream(source.dataset, source.subset, source.revision, split, tuple(fields), setting)
        self._max_bytes = source.max_bytes
        facts = [LAYOUT_VERSION, self.stream.identity(), source.max_bytes]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        self.folder = cache_dir / "hub" / f"{Path(source.dataset).name}-{split}-{key}"

    @property
    def is_complete(self) -> bool:
        """Whether everything that is wanted lies here."""
        return self._journal().complete

    def identity(self) -> list[str]:
        """The hash of every part, of its records before compression."""
        return self._journal().parts

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Where each record stands, and the record, in the order of the data set."""
        for number in range(len(self._journal().parts)):
            yield from json_objects(self._part(number), self.stream.setting)

    def fetch(self, progress: Callable[[str, int], None]) -> None:
        """Read from the hub what is not here yet; ConfigError where it cannot be reached or has no such thing."""
        if self.is_complete:
            return
        make_writable(self.folder)
        try:
            with FileLock(self.folder / ".lock"):
                journal = self._journal()
                if not journal.complete:
                    self._fetch_rest(journal, progress)
        except ConfigError:
            self._remove_if_empty()
            raise

    def _remove_if_empty(self) -> None:
        """A data set that cannot be read leaves nothing behind; one that broke off keeps its parts."""
        if self._journal().parts:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # others lie there as well
            self.folder.parent.rmdir()
            self.folder.parent.parent.rmdir()

    def _fetch_rest(self, journal: Journal, progress: Callable[[str, int], None]) -> None:
        lines: list[bytes] = []
        size, done = 0, journal.bytes
        stage = f"reading {self.stream.dataset} {self.stream.split}"
        for record, position in self.stream.records(journal.position):
            lines.append(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            size += _text_bytes(record)
            progress(stage, done + size)
            full = self._max_bytes is not None and done + size >= self._max_bytes
            if size >= PART_BYTES or full:
                journal = self._add(journal, lines, size, position(), complete=full)
                lines, size, done = [], 0, journal.bytes
            if full:
                return
        self._add(journal, lines, size, journal.position, complete=True)

    def _add(
        self, journal: Journal, lines: list[bytes], size: int, position: dict[str, Any], *, complete: bool
    ) -> Journal:
        """The journal with one part more, on disk before the journal says so."""
        content = b"".join(lines)
        parts = [*journal.parts]
        if lines:
            _write(self._part(len(parts)), content)
            parts.append(hashlib.sha256(content).hexdigest())
        position = {} if complete else position  # equal places can be written in several ways
        journal = Journal(parts, position, journal.records + len(lines), journal.bytes + size, complete)
        write_json(self.folder / JOURNAL, asdict(journal))
        return journal

    def _journal(self) -> Journal:
        path = self.folder / JOURNAL
        return Journal(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else Journal([], {})

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:06d}.jsonl.gz"


def _write(path: Path, content: bytes) -> None:
    """A file that is either absent or whole; equal content gives equal bytes."""
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file, gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as packed:
        packed.write(content)
    flush_to_disk(unfinished)
    os.replace(unfinished, path)


def _text_bytes(value: Any) -> int:
    """UTF-8 bytes of all text in a record."""
    if isinstance(value, str):
        return len(value.encode())
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(map(_text_bytes, children))
