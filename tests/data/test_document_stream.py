from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camoe.config import ConfigError
from camoe.config.data import DataConfig
from camoe.data.document_stream import DocumentStream, StreamCounts
from camoe.data.source import Split


class Listed:
    """Documents given outright."""

    name = description = "listed"

    def __init__(self, train: list[str], valid: list[str]) -> None:
        self.parts: dict[Split, list[str]] = {"train": train, "valid": valid}

    def identity(self) -> list[list[str | int]]:
        return []

    def fetch(self, progress: Callable[[str, int], None]) -> None: ...

    def labelled(self, split: Split, domain_field: str | None = None) -> Iterator[tuple[str, str]]:
        return ((domain_field or "text", text) for text in self.parts[split])


def test_each_document_once_and_parts_disjoint() -> None:
    source = Listed(["a b", "x", "a  b\n", "held out", "x", "  "], ["held  out", "y", "y"])
    stream, train, valid = DocumentStream(source, DataConfig()), StreamCounts(), StreamCounts()
    assert list(stream.read("train", train)) == ["a b", "x"]
    assert list(stream.read("valid", valid)) == ["held  out", "y"]
    assert (train.duplicates_dropped, train.held_out_copies_dropped, train.empty_dropped) == (2, 1, 1)
    assert (valid.duplicates_dropped, valid.held_out_copies_dropped, valid.empty_dropped) == (1, 0, 0)


def test_what_has_no_place_is_cleaned_and_counted() -> None:
    counts = StreamCounts()
    stream = DocumentStream(Listed(["a\0b\0", "c\ud800d"], ["v"]), DataConfig())
    assert list(stream.read("train", counts)) == ["ab", "c\ufffdd"]
    assert (counts.nul_bytes_removed, counts.surrogates_replaced) == (2, 1)


@given(texts=st.lists(st.text(alphabet="aé🙂 ", max_size=8), unique=True), limit=st.integers(1, 40))
def test_limit_is_in_bytes_and_cuts_between_characters(texts: list[str], limit: int) -> None:
    source = Listed(texts, ["v"])
    everything = "".join(DocumentStream(source, DataConfig()).read("train")).encode()
    counts = StreamCounts()
    cut = "".join(DocumentStream(source, DataConfig(max_train_bytes=limit)).read("train", counts)).encode()
    assert everything.startswith(cut)
    assert len(cut) <= limit
    assert len(cut) > min(limit, len(everything)) - 4
    assert counts.cut_at_byte_limit == (len(everything) > limit)


def test_training_part_does_not_depend_on_the_held_out_limit() -> None:
    source = Listed(["a", "second"], ["first", "second"])
    limited = DocumentStream(source, DataConfig(max_valid_bytes=5))
    assert list(limited.read("valid")) == ["first"]
    assert list(limited.read("train")) == ["a"]


def test_no_held_out_document_is_refused() -> None:
    with pytest.raises(ConfigError, match="no document in the held-out part"):
        list(DocumentStream(Listed(["a"], [" "]), DataConfig()).read("train"))
