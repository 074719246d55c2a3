import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from camoe.config import ConfigError
from camoe.data.source import split_of
from camoe.data.text_file import BLOCK_BYTES, DOCUMENT_BYTES, text_documents


def test_small_file_is_one_document(tmp_path: Path) -> None:
    path = tmp_path / "story.txt"
    path.write_bytes(b"\xef\xbb\xbfOnce\r\nupon a time.\n" * 1)
    assert list(text_documents(path, lambda _: True)) == ["Once\r\nupon a time.\n"]


def test_packed_file_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "story.txt.gz"
    path.write_bytes(gzip.compress(b"Once upon a time."))
    assert list(text_documents(path, lambda _: True)) == ["Once upon a time."]


def test_big_file_is_cut_at_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    text = "".join(f"line {number} of a long text\n" for number in range(120_000))
    path.write_text(text)
    documents = list(text_documents(path, lambda _: True))
    assert "".join(documents) == text
    assert len(documents) == -(-len(text) // DOCUMENT_BYTES)
    assert all(document.endswith("\n") for document in documents)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(lines=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=30))
def test_split_loses_and_repeats_nothing(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "text.txt"
    content = "\n".join(f"{number} {line}" for number, line in enumerate(lines * 40)).encode()
    path.write_bytes(content)
    train = list(text_documents(path, lambda block: split_of(block, 0.3) == "train"))
    valid = list(text_documents(path, lambda block: split_of(block, 0.3) == "valid"))
    written = [text.encode() for text in train + valid]
    assert sorted(b"".join(written)) == sorted(content)
    assert all(text in content for text in written)


def test_runs_of_blocks_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{number:08d}\n" for number in range(20_000)))
    train = list(text_documents(path, lambda block: split_of(block, 0.05) == "train"))
    assert sum(map(len, train)) / len(train) > 3 * BLOCK_BYTES


@pytest.mark.parametrize("wanted", [True, False])
def test_byte_that_is_not_utf8_is_named_with_its_line(tmp_path: Path, wanted: bool) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"good line\n" * 70_000 + "schön\n".encode("latin-1") + b"good line\n")
    with pytest.raises(ConfigError, match=r"latin\.txt line 70001 is not UTF-8 \(byte 0xf6\)"):
        list(text_documents(path, lambda _: wanted))


def test_cut_off_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.txt.gz"
    path.write_bytes(gzip.compress(b"Once upon a time." * 1000)[:-20])
    with pytest.raises(ConfigError, match=r"cut\.txt\.gz cannot be read"):
        list(text_documents(path, lambda _: True))
