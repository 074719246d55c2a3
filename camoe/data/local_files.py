"""Documents from files that the user has: `data.path=` a file, or a folder with train.* and valid.*."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from camoe.config import ConfigError
from camoe.config.named_paths import missing_path
from camoe.data.record_file import JSON_SUFFIXES, RECORD_SUFFIXES, json_records, record_documents
from camoe.data.source import Split, file_identity, split_of
from camoe.data.text_file import TEXT_SUFFIXES, text_documents

SUFFIXES = TEXT_SUFFIXES + RECORD_SUFFIXES


class LocalFiles:
    """A folder's train.* and valid.* as they are; a single file split by the hash of each document.

    A text file has no document boundaries: see `text_file` for how it is cut.
    """

    def __init__(
        self, path: str | Path, text_field: str, valid_fraction: float, name: str = "local", setting: str = "data"
    ) -> None:
        """`setting` is the group whose `path` is meant, for refusals."""
        self.name = name
        self.path = Path(path)
        self.description = str(path)
        self.text_field = text_field
        self.valid_fraction = valid_fraction
        self.files = find_files(self.path, f"{setting}.path")

    def identity(self) -> list[list[str | int]]:
        return [[split, self.text_field, *file_identity(file.resolve())] for split, file in sorted(self.files.items())]

    def fetch(self, progress: Callable[[str, int], None]) -> None:
        """It is here already."""

    def labelled(self, split: Split, domain_field: str | None = None) -> Iterator[tuple[str, str]]:
        """(domain, text) of each document: the value of that field of its JSON record, else the name of its file."""
        file = self.files[split]
        if domain_field is None:
            return ((file.name, text) for text in self.documents(split))
        if not file.name.endswith(JSON_SUFFIXES):
            raise ConfigError(
                f"evaluation.domain_field: {file} has no fields; must be one of {', '.join(JSON_SUFFIXES)}"
            )
        records = json_records(file, self.text_field, domain_field)
        return ((str(domain), text) for text, domain in records if self._wants_text(split, text))

    def documents(self, split: Split) -> Iterator[str]:
        file = self.files[split]
        if file.name.endswith(TEXT_SUFFIXES):
            return text_documents(file, lambda block: self._wants(split, block))
        documents = record_documents(file, self.text_field)
        return (text for text in documents if self._wants_text(split, text))

    def _wants_text(self, split: Split, text: str) -> bool:
        # surrogatepass: a broken \ud800 escape is repaired later, it must not stop the split
        return self._wants(split, text.encode("utf-8", "surrogatepass"))

    def _wants(self, split: Split, content: bytes) -> bool:
        return self.path.is_dir() or split_of(content, self.valid_fraction) == split


def find_files(path: Path, setting: str = "data.path", suffixes: tuple[str, ...] = SUFFIXES) -> dict[Split, Path]:
    """The file of each part: a folder's train.* and valid.*, or one file for both; `setting` names it in refusals."""
    if not path.exists():
        raise missing_path(setting, path)
    found = {split: _part(path, split, setting, suffixes) if path.is_dir() else path for split in ("train", "valid")}
    for file in found.values():
        if not file.name.endswith(suffixes):
            raise ConfigError(f"{setting}: {file} has no known suffix; must be one of {', '.join(suffixes)}")
        if file.stat().st_size == 0:
            raise ConfigError(f"{setting}: {file} is empty")
    return found  # type: ignore[return-value]


def _part(folder: Path, split: str, setting: str, suffixes: tuple[str, ...]) -> Path:
    """The one file of the folder that holds this part."""
    candidates = [folder / f"{split}{suffix}" for suffix in suffixes]
    found = [file for file in candidates if file.is_file()]
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ConfigError(f"{setting}: {folder} has several {split} files ({names}); keep one, or give one file")
    if not found:
        names = ", ".join(sorted(item.name for item in folder.iterdir())[:8]) or "nothing"
        raise ConfigError(
            f"{setting}: {folder} has no {split} file ({split}{' '.join(suffixes)}), it holds {names}; "
            f"a single file given as {setting} is split by hash"
        )
    return found[0]
