from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camoe.config import ConfigError
from camoe.data.evaluation_windows import cut_windows
from camoe.data.packing import pack
from camoe.data.tokenizer import Tokenizer

ONE_BYTE = np.ones(1 << 16, dtype=np.int64)


@given(count=st.integers(2, 200), ctx_len=st.integers(1, 40), size=st.integers(1, 9))
def test_every_target_is_scored_once(count: int, ctx_len: int, size: int) -> None:
    windows = cut_windows(np.arange(count, dtype=np.uint16), ctx_len, ONE_BYTE)
    scored = []
    for tokens, mask in windows.batches(size):
        assert tokens.shape == (len(mask), ctx_len + 1)
        assert mask.shape[1] == ctx_len
        assert (tokens[:, 1:][mask] == tokens[:, :-1][mask] + 1).all()
        assert (tokens[:, 1:][~mask] == 0).all()
        scored += tokens[:, 1:][mask].tolist()
    assert scored == list(range(1, count))
    assert windows.targets == len(scored)


@pytest.mark.parametrize("ctx_len", [1, 7, 64, 100_000])
def test_bytes_are_those_of_the_scored_text(
    tmp_path: Path, tokenizer: Tokenizer, modules: list[str], ctx_len: int
) -> None:
    texts = ["schön 🙂 你好 " * 5, *modules[:3]]
    packed, _ = pack(texts, tokenizer, tmp_path, "valid", lambda *_: None)
    windows = cut_windows(packed.tokens, ctx_len, tokenizer.byte_lengths)
    assert windows.text_bytes == sum(len(text.encode()) for text in texts)
    for count in (1, 2, 5, len(windows)):
        part = windows.spread(count)
        scored = [int(i) for tokens, mask in part.batches(4) for i in tokens[:, 1:][mask]]
        assert part.text_bytes == len(tokenizer.decode_bytes(scored))
        assert part.targets == len(scored)
        assert len(part) == min(count, len(windows))


def test_separators_are_targets_of_no_bytes(tmp_path: Path, bpe: Tokenizer) -> None:
    packed, _ = pack(["ab", "cd"], bpe, tmp_path, "valid", lambda *_: None)
    windows = cut_windows(packed.tokens, 8, bpe.byte_lengths)
    tokens, mask = next(windows.batches(1))
    assert (tokens[:, 1:][mask] == 0).sum() == 2
    assert windows.text_bytes == 4


def test_nothing_to_predict_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to predict"):
        cut_windows(np.zeros(1, dtype=np.uint16), 8, ONE_BYTE)


def test_documents_begin_where_the_packed_file_says(tmp_path: Path, tokenizer: Tokenizer, modules: list[str]) -> None:
    packed, _ = pack(["schön 🙂", *modules[:4], "x"], tokenizer, tmp_path, "valid", lambda *_: None)
    windows = cut_windows(packed.tokens, 64, tokenizer.byte_lengths)
    assert windows.document_starts.tolist() == packed.document_starts.tolist()


@given(count=st.integers(2, 90), ctx_len=st.integers(1, 40), some=st.integers(1, 5))
def test_places_name_the_targets_in_order(count: int, ctx_len: int, some: int) -> None:
    windows = cut_windows(np.arange(count, dtype=np.uint16), ctx_len, ONE_BYTE).spread(some)
    scored = [int(i) for tokens, mask in windows.batches(2) for i in tokens[:, 1:][mask]]
    assert windows.target_places.tolist() == scored
