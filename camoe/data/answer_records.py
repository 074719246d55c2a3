"""Where dialogues and pairs come from: local files, hub data sets, or several of them drawn into one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from camoe.config import ConfigError
from camoe.config.data import MIXTURES, ONE_PATH, DataConfig
from camoe.config.text_source import SourceConfig
from camoe.data.dialogue_records import FIELDS
from camoe.data.hub_copy import HubCopy
from camoe.data.local_files import find_files
from camoe.data.record_file import json_objects
from camoe.data.source import Split, file_identity

SUFFIXES = (".jsonl", ".jsonl.gz")
Records = Iterator[tuple[str, dict[str, Any]]]
"""Where each record stands, for refusals, and the record."""


class AnswerRecords(Protocol):
    """Records of two parts.

    is_parted: both parts have records of their own, else they share all of them. may_be_broken: nobody can repair a
    record, so that one which is no dialogue is left out in place of ending the run.
    """

    is_parted: bool
    may_be_broken: bool

    def fetch(self, progress: Callable[[str, int], None]) -> None:
        """Bring here what lies elsewhere, telling (stage, bytes so far)."""

    def identity(self) -> list[Any]:
        """JSON-ready facts that change when the records may have changed."""

    def records(self, split: Split) -> Records:
        """The records of a part, in the same order every time."""


class LocalRecords:
    """A .jsonl file, or a folder with a train and a valid one."""

    may_be_broken = False

    def __init__(self, path: Path, setting: str) -> None:
        self.is_parted = path.is_dir()
        self._setting, self._files = setting, find_files(path, setting, SUFFIXES)

    def fetch(self, progress: Callable[[str, int], None]) -> None:
        """They are here already."""

    def identity(self) -> list[Any]:
        return [self.is_parted, *(file_identity(file.resolve()) for file in self._files.values())]

    def records(self, split: Split) -> Records:
        objects = json_objects(self._files[split], self._setting)
        return ((f"{self._setting}: {place}", record) for place, record in objects)


class HubRecords:
    """The local copy of a data set."""

    may_be_broken = True

    def __init__(self, source: SourceConfig, setting: str, cache_dir: Path) -> None:
        self.is_parted = source.valid_split is not None
        self._setting = setting
        splits: dict[Split, str] = {"train": source.train_split, "valid": source.valid_split or source.train_split}
        self._copies = {part: HubCopy(source, split, FIELDS, setting, cache_dir) for part, split in splits.items()}

    def fetch(self, progress: Callable[[str, int], None]) -> None:
        for copy in self._copies.values():
            copy.fetch(progress)

    def identity(self) -> list[Any]:
        return [self.is_parted, *(copy.identity() for copy in self._copies.values())]

    def records(self, split: Split) -> Records:
        return ((f"{self._setting}: {place}", record) for place, record in self._copies[split].records())


def answer_records(profile: str, data: DataConfig) -> Mapping[str, AnswerRecords]:
    """The sources of profile sft or preferences by name; the one without a name is ''."""
    path = getattr(data, ONE_PATH[profile])
    if path is not None:
        return {"": LocalRecords(Path(path), f"data.{ONE_PATH[profile]}")}
    found = {
        name: _named(source, f"data.{MIXTURES[profile]}.{name}", Path(data.cache_dir))
        for name, source in data.named(profile).items()
    }
    if not found:
        raise ConfigError(f"data.{ONE_PATH[profile]}: null, and no data.{MIXTURES[profile]}; give one of them")
    return found


def _named(source: SourceConfig, setting: str, cache_dir: Path) -> AnswerRecords:
    if source.path is not None:
        return LocalRecords(Path(source.path), f"{setting}.path")
    return HubRecords(source, setting, cache_dir)
