"""The domain of every held-out document: what its source calls it, such as a package or the value of a field."""

from __future__ import annotations

from collections.abc import Iterator

from camoe.config import ConfigError
from camoe.config.data import DataConfig
from camoe.data.document_stream import DocumentStream
from camoe.data.local_files import LocalFiles
from camoe.data.preparation import open_source
from camoe.data.python_stdlib import PythonStdlib
from camoe.data.source import Source, Split


def held_out_domains(data: DataConfig, domain_field: str | None = None) -> list[str]:
    """[D] names, in the order of the packed documents. Reads the held-out text once more.

    ConfigError for a field that the records do not have.
    """
    source = _Remembering(open_source(data), domain_field)
    return [source.domain for _ in DocumentStream(source, data).read("valid")]


class _Remembering:
    """A source that knows the domain of the document it gave last; the stream takes one at a time."""

    def __init__(self, source: Source, domain_field: str | None) -> None:
        self.name, self.description = source.name, source.description
        self.domain = ""
        self._source, self._domain_field = source, domain_field

    def identity(self) -> list[list[str | int]]:
        return self._source.identity()

    def documents(self, split: Split) -> Iterator[str]:
        for domain, text in self._labelled(split):
            self.domain = domain
            yield text

    def _labelled(self, split: Split) -> Iterator[tuple[str, str]]:
        if isinstance(self._source, LocalFiles):
            return self._source.labelled(split, self._domain_field)
        if self._domain_field is not None:
            raise ConfigError(f"evaluation.domain_field: '{self._domain_field}', but {self.name} has no records")
        assert isinstance(self._source, PythonStdlib)
        return self._source.labelled(split)
