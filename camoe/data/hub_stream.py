"""Reading a data set of the Hugging Face hub, or a folder in its layout, from any place on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camoe.config import ConfigError
from camoe.config.refusal import nearest
from camoe.config.text_source import PATH_PREFIXES
from camoe.data.source import file_identity

TIMEOUT_SECONDS = 10.0
REASON_CHARACTERS = 160


@dataclass(frozen=True)
class HubStream:
    """The records of one split, reduced to the fields that are wanted; `setting` is the one of the source."""

    dataset: str
    subset: str | None
    revision: str | None
    split: str
    fields: tuple[str, ...]
    setting: str

    def records(self, position: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Callable[[], dict[str, Any]]]]:
        """Each record from `position` on ({}: the first), and a function that tells the position behind it.

        Whatever the libraries raise becomes a ConfigError of one line that names the local way.
        """
        try:
            stream = self._open()
            if position:
                stream.load_state_dict(position)
            for record in stream:
                yield {name: value for name, value in record.items() if value is not None}, stream.state_dict
        except ConfigError:
            raise
        except Exception as error:  # their kinds change with the version of the hub's client
            reason = " ".join(str(error).split())[:REASON_CHARACTERS] or type(error).__name__
            raise ConfigError(
                f"{self.setting}.dataset: {self.dataset} cannot be read ({reason}); "
                f"give local files with {self.setting}.path=FILE or FOLDER"
            ) from None

    def _open(self) -> Any:
        """The stream of the fields that are wanted."""
        import datasets

        if not self.is_folder:
            self._ask_hub()
        datasets.disable_progress_bars()
        stream = datasets.load_dataset(
            self.dataset, self.subset, split=self.split, revision=self.revision, streaming=True
        )
        return stream.select_columns(self._present(stream))

    def identity(self) -> list[Any]:
        """JSON-ready facts that decide the records; of a folder its files by place, size and time."""
        folder = Path(self.dataset).resolve()
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if self.is_folder else []
        where = str(folder) if self.is_folder else self.dataset
        return [where, self.subset, self.revision, self.split, self.fields, [file_identity(file) for file in files]]

    @property
    def is_folder(self) -> bool:
        """Whether the data set is a local folder."""
        return self.dataset.startswith(PATH_PREFIXES)

    def _ask_hub(self) -> None:
        """One short question: `datasets` itself would try for half a minute before it says that there is no hub."""
        from huggingface_hub import HfApi

        HfApi().dataset_info(self.dataset, revision=self.revision, timeout=TIMEOUT_SECONDS)

    def _present(self, stream: Any) -> list[str]:
        columns = stream.column_names or list(next(iter(stream.take(1)), {}))
        kept = [name for name in self.fields if name in columns]
        if not kept:
            near = next((found for name in self.fields if (found := nearest(name, columns))), None)
            hint = f"; did you mean {near}?" if near else ";"
            raise ConfigError(
                f"{self.setting}: {self.dataset} has none of {', '.join(self.fields)}{hint} "
                f"(fields: {', '.join(columns)})"
            )
        return kept
