"""Any text through a tokenizer and back, and any ids to text."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from camoe.data.bpe_tokenizer import BpeTokenizer
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.data.rwkv_world_tokenizer import RwkvWorldTokenizer
from camoe.data.tokenizer import SEPARATOR, Tokenizer

pytestmark = pytest.mark.slow
KINDS = ("byte", "bpe", "rwkv_world")
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80)


@cache
def tokenizer(kind: str) -> Tokenizer:
    """Each made once."""
    if kind == "bpe":
        return BpeTokenizer.train(["the quick brown fox", "jumps over the lazy dog"] * 20, 300)
    return ByteTokenizer() if kind == "byte" else RwkvWorldTokenizer()


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(text=TEXT)
@example(text="<|endoftext|>")
@example(text="")
def test_a_text_comes_back(kind: str, text: str) -> None:
    ids = tokenizer(kind).encode(text)
    assert tokenizer(kind).decode(ids) == text
    assert SEPARATOR not in ids
    assert tokenizer(kind).encode_batch([text, text]) == [ids, ids]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(ids=st.lists(st.integers(-(2**70), 2**70) | st.integers(-2, 70_000), max_size=40))
def test_any_ids_are_text(kind: str, ids: list[int]) -> None:
    assert tokenizer(kind).decode(ids).encode() is not None
