"""Any bytes in a text file: documents, or one line that refuses them."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from camoe.config import ConfigError
from camoe.config.data import DataConfig
from camoe.data.document_stream import DocumentStream
from camoe.data.local_files import LocalFiles
from camoe.data.source import Split
from tests.fuzz.damage import Damage, damaged, damages, refuse_more_lines

pytestmark = pytest.mark.slow
ANY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SPLITS: tuple[Split, ...] = ("train", "valid")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("text"), inner, max_size=3),
    max_leaves=6,
)


def read(path: Path, content: bytes) -> None:
    """Every document of a file of these bytes, both parts, as they are and cleaned; a refusal takes one line."""
    path.write_bytes(content)
    try:
        assert all(isinstance(text, str) for text in documents(path))
        stream = DocumentStream(LocalFiles(path, "text", 0.5), DataConfig(source="local", path=str(path)))
        for split in SPLITS:
            for text in stream.read(split):
                text.encode()
    except ConfigError as refusal:
        refuse_more_lines(refusal)


def documents(path: Path) -> list[str]:
    """Of both parts."""
    return [text for split in SPLITS for text in LocalFiles(path, "text", 0.5).documents(split)]


@ANY
@given(
    content=st.binary(max_size=400),
    suffix=st.sampled_from([".txt", ".jsonl", ".txt.gz", ".jsonl.gz", ".parquet", ".arrow"]),
)
@example(content=b"[" * 100_000, suffix=".jsonl")
@example(content=b'{"n": ' + b"9" * 5000 + b"}", suffix=".jsonl")
def test_any_bytes(content: bytes, suffix: str, tmp_path: Path) -> None:
    read(tmp_path / f"file{suffix}", content)


@ANY
@given(content=st.binary(min_size=1, max_size=400), suffix=st.sampled_from([".txt.gz", ".jsonl.gz"]))
def test_any_bytes_packed(content: bytes, suffix: str, tmp_path: Path) -> None:
    read(tmp_path / f"file{suffix}", gzip.compress(content, compresslevel=1))


@ANY
@given(records=st.lists(JSON, max_size=5))
def test_any_records(records: list[object], tmp_path: Path) -> None:
    read(tmp_path / "file.jsonl", "\n".join(map(json.dumps, records)).encode())


@ANY
@given(texts=st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_records_are_read_as_they_were_written(texts: list[str], tmp_path: Path) -> None:
    (tmp_path / "file.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    assert sorted(documents(tmp_path / "file.jsonl")) == sorted(texts)


@ANY
@given(damage=damages())
@example(damage=([(0.5, 0)], 1.0, b""))
@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_damaged_columns(damage: Damage, suffix: str, tmp_path: Path) -> None:
    table, file = pa.table({"text": [f"document {number}" for number in range(20)]}), io.BytesIO()
    if suffix == ".parquet":
        parquet.write_table(table, file)
    else:
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    read(tmp_path / f"file{suffix}", damaged(file.getvalue(), damage))
