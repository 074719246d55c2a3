import gzip
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from camoe.config import ConfigError
from camoe.data.record_file import record_documents

TEXTS = ["Once upon a time.", "schön 🙂", "the end"]


def write_arrow(path: Path, make_writer: object, table: pyarrow.Table) -> None:
    with pyarrow.OSFile(str(path), "wb") as sink, make_writer(sink, table.schema) as writer:  # type: ignore[operator]
        writer.write_table(table)


def test_json_lines(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"text": "Once upon a time."}\n\n'
    content += b'{"text": "sch\\u00f6n \\ud83d\\ude42", "n": 1}\n{"text": "the end"}'
    (tmp_path / "a.jsonl").write_bytes(content)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(content))
    assert list(record_documents(tmp_path / "a.jsonl", "text")) == TEXTS
    assert list(record_documents(tmp_path / "a.jsonl.gz", "text")) == TEXTS


def test_columns(tmp_path: Path) -> None:
    table = pyarrow.table({"text": [*TEXTS, None], "n": [1, 2, 3, 4]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    write_arrow(tmp_path / "stream.arrow", pyarrow.ipc.new_stream, table)
    write_arrow(tmp_path / "file.arrow", pyarrow.ipc.new_file, table)
    for name in ("a.parquet", "stream.arrow", "file.arrow"):
        assert list(record_documents(tmp_path / name, "text")) == TEXTS


@pytest.mark.parametrize(
    ("second_line", "message"),
    [
        (b'{"text": "a"', r"a\.jsonl line 2 is not JSON \(Expecting"),
        (b'["text"]', r"a\.jsonl line 2 is a list; must be a JSON object"),
        (b'{"txt": "a", "id": 1}', r"line 2 has no field 'text'; did you mean txt\? \(fields: txt, id\)"),
        (b'{"text": 7}', r"line 2 has a int in 'text'; must be text"),
        (b'{"text": "sch\xf6n"}', r"line 2 is not UTF-8 \(byte 0xf6\)"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, second_line: bytes, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "good"}\n' + second_line + b"\n")
    with pytest.raises(ConfigError, match=message) as refusal:
        list(record_documents(path, "text"))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_broken_columns_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"this is no such file at all")
    with pytest.raises(ConfigError, match=rf"a\{suffix} cannot be read") as refusal:
        list(record_documents(path, "text"))
    assert "\n" not in str(refusal.value)


def test_missing_or_wrong_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"content": ["a"], "n": [1]}), path)
    with pytest.raises(ConfigError, match=r"no field 'contents'; did you mean content\? \(fields: content, n\)"):
        list(record_documents(path, "contents"))
    with pytest.raises(ConfigError, match="has int64 in 'n'; must be text"):
        list(record_documents(path, "n"))
