"""Documents from a hub data set, read from its local copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from camoe.config import ConfigError
from camoe.config.text_source import SourceConfig
from camoe.data.hub_copy import HubCopy
from camoe.data.source import Split, split_of


class HubText:
    """A train and a held-out split as they are, or the documents of one split parted by their hash."""

    def __init__(self, name: str, source: SourceConfig, setting: str, valid_fraction: float, cache_dir: Path) -> None:
        self.name = name
        self.description = str(source.dataset)
        self._setting, self._text_field, self._valid_fraction = setting, source.text_field, valid_fraction
        train = HubCopy(source, source.train_split, [source.text_field], setting, cache_dir)
        valid = source.valid_split and HubCopy(source, source.valid_split, [source.text_field], setting, cache_dir)
        self._copies: dict[Split, HubCopy] = {"train": train, "valid": valid or train}

    def fetch(self, progress: Callable[[str, int], None]) -> None:
        """Make the local copy where it is not complete."""
        for copy in self._copies.values():
            copy.fetch(progress)

    def identity(self) -> list[list[str | int]]:
        if not all(copy.is_complete for copy in self._copies.values()):
            raise ConfigError(
                f"{self._setting}: {self.description} has not been read yet; python run.py job=prepare_data"
            )
        return [[split, *copy.identity()] for split, copy in sorted(self._copies.items())]

    def labelled(self, split: Split, domain_field: str | None = None) -> Iterator[tuple[str, str]]:
        if domain_field is not None:
            raise ConfigError(f"evaluation.domain_field: '{domain_field}', but {self.name} keeps one field only")
        return ((self.name, text) for text in self.documents(split))

    def documents(self, split: Split) -> Iterator[str]:
        """Records without a text are left out."""
        parted = self._copies["train"] is self._copies["valid"]
        for where, record in self._copies[split].records():
            text = record.get(self._text_field)
            if text is None:
                continue
            if not isinstance(text, str):
                kind = type(text).__name__
                raise ConfigError(
                    f"{self._setting}.text_field: {where} has a {kind} in '{self._text_field}'; must be text"
                )
            if not parted or split_of(text.encode("utf-8", "surrogatepass"), self._valid_fraction) == split:
                yield text
