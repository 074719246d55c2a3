"""Documents from files of records, one document each: JSON lines, parquet, arrow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from camoe.config import ConfigError
from camoe.config.refusal import nearest
from camoe.data.reading import open_bytes

JSON_SUFFIXES = (".jsonl", ".jsonl.gz")
RECORD_SUFFIXES = (*JSON_SUFFIXES, ".parquet", ".arrow")
BATCH_ROWS = 1024


def record_documents(path: Path, text_field: str) -> Iterator[str]:
    """The text field of every record, streamed. Rows of a column file without a value are skipped."""
    if path.suffix == ".parquet":
        return _parquet_documents(path, text_field)
    if path.suffix == ".arrow":
        return _arrow_documents(path, text_field)
    return (text for text, _ in json_records(path, text_field))


def json_records(path: Path, text_field: str, other_field: str | None = None) -> Iterator[tuple[str, Any]]:
    """The text field of every line, and the value of another field that every line must have; None without one."""
    for where, record in json_objects(path):
        if text_field not in record:
            raise _no_such_field(where, text_field, record)
        if not isinstance(record[text_field], str):
            kind = type(record[text_field]).__name__
            raise ConfigError(f"data.text_field: {where} has a {kind} in '{text_field}'; must be text")
        if other_field is not None and other_field not in record:
            raise _no_such_field(where, other_field, record, "evaluation.domain_field")
        yield record[text_field], None if other_field is None else record[other_field]


def json_objects(path: Path, setting: str = "data.path") -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each object of a file of JSON lines stands, and the object; `setting` is the one that a refusal names."""
    with open_bytes(path, setting) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{path} line {number}"
                yield where, _parse(where, line, setting)


def _parse(where: str, line: bytes, setting: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{setting}: {where} is not UTF-8 (byte 0x{line[error.start]:02x})") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{setting}: {where} is not JSON ({error.msg} at column {error.colno})") from None
    except (RecursionError, ValueError) as error:  # a thousand brackets in brackets, a number of 4,300 digits
        raise ConfigError(f"{setting}: {where} is no JSON that can be read ({str(error).partition(';')[0]})") from None
    if not isinstance(record, dict):
        raise ConfigError(f"{setting}: {where} is a {type(record).__name__}; must be a JSON object")
    return record


def _parquet_documents(path: Path, text_field: str) -> Iterator[str]:
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            _check_column(path, text_field, file.schema_arrow)
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[text_field]):
                yield from _texts(batch, text_field)
    except ConfigError:
        raise
    except Exception as error:  # a damaged file makes the library raise anything
        raise _broken(path, error) from None


def _arrow_documents(path: Path, text_field: str) -> Iterator[str]:
    import pyarrow

    try:
        with pyarrow.memory_map(str(path)) as file:
            # the `datasets` library writes the stream format, others the file format
            try:
                reader = pyarrow.ipc.open_stream(file)
            except pyarrow.ArrowInvalid:
                reader = pyarrow.ipc.open_file(file)
            _check_column(path, text_field, reader.schema)
            batches = reader if hasattr(reader, "__iter__") else map(reader.get_batch, range(reader.num_record_batches))
            for batch in batches:
                batch.validate(full=True)  # offsets are not looked at before they are followed
                yield from _texts(batch, text_field)
    except ConfigError:
        raise
    except Exception as error:  # a damaged file makes the library raise anything
        raise _broken(path, error) from None


def _check_column(path: Path, text_field: str, schema: Any) -> None:
    if text_field not in schema.names:
        raise _no_such_field(str(path), text_field, schema.names)
    kind = str(schema.field(text_field).type)
    if kind not in {"string", "large_string", "string_view"}:
        raise ConfigError(f"data.text_field: {path} has {kind} in '{text_field}'; must be text")


def _texts(batch: Any, text_field: str) -> Iterator[str]:
    return (text for text in batch.column(text_field).to_pylist() if text is not None)


def _broken(path: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"data.path: {path} cannot be read ({' '.join(str(error).split())[:200] or type(error).__name__})"
    )


def _no_such_field(where: str, text_field: str, fields: Iterable[str], setting: str = "data.text_field") -> ConfigError:
    fields = list(fields)
    near = nearest(text_field, fields)
    hint = f"; did you mean {near}?" if near else ";"
    return ConfigError(f"{setting}: {where} has no field '{text_field}'{hint} (fields: {', '.join(fields)})")
