"""The domain of every held-out document: what its source calls it, such as a package or the value of a field."""

from __future__ import annotations

from camoe.config.data import DataConfig
from camoe.data.document_stream import DocumentStream
from camoe.data.open_source import open_source


def held_out_domains(data: DataConfig, domain_field: str | None = None) -> list[str]:
    """[D] names, in the order of the packed documents. Reads the held-out text once more.

    ConfigError for a field that the records do not have.
    """
    stream = DocumentStream(open_source(data), data)
    return [domain for domain, _ in stream.labelled("valid", domain_field=domain_field)]
