from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camoe.config import ConfigError
from camoe.config.evaluation import EvaluationConfig
from camoe.data.evaluation_windows import EvaluationWindows, cut_windows
from camoe.data.packing import pack
from camoe.data.tokenizer import Tokenizer

ONE_BYTE = np.ones(1 << 16, dtype=np.int64)


@st.composite
def scorings(draw: st.DrawFn) -> tuple[EvaluationWindows, EvaluationConfig]:
    """Any text, with separators anywhere, cut in any way."""
    tokens = np.array(draw(st.lists(st.integers(0, 5), min_size=2, max_size=80)), dtype=np.uint16)
    ctx_len = draw(st.integers(1, 30))
    mode, stride = draw(st.sampled_from(["chunked", "sliding", "stateful"])), draw(st.integers(1, ctx_len))
    config = EvaluationConfig(mode=mode, stride=stride, by_document=draw(st.booleans()))
    return cut_windows(tokens, ctx_len, np.array([0, 1, 2, 3, 1, 4]), config), config


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


@given(scoring=scorings(), size=st.integers(1, 5))
def test_however_the_text_is_cut_every_target_is_scored_once(
    scoring: tuple[EvaluationWindows, EvaluationConfig], size: int
) -> None:
    windows, _ = scoring
    order, targets = [], []
    for group in windows.groups(size):
        for rows in group:
            tokens, mask = windows.read(rows)
            assert 1 <= len(rows) <= size
            assert mask.any(1).all()
            order += windows.target_numbers(rows).tolist()
            targets += tokens[:, 1:][mask].tolist()
    assert sorted(order) == list(range(len(windows.tokens) - 1))
    assert [targets[place] for place in np.argsort(order)] == windows.tokens[1:].tolist()
    assert windows.target_places.tolist() == list(range(1, len(windows.tokens)))
    assert windows.text_bytes == windows.byte_lengths[windows.tokens[1:]].sum()


@given(scoring=scorings())
def test_every_target_has_the_context_that_was_asked_for(
    scoring: tuple[EvaluationWindows, EvaluationConfig],
) -> None:
    windows, config = scoring
    stride = config.step_of(windows.ctx_len)
    begin, seen_from = 0, 0  # of the text or document, and of what the state has read
    for start, first, end, fresh in zip(windows.starts, windows.firsts, windows.ends, windows.fresh, strict=True):
        if config.by_document and first - 1 in {0, *(windows.document_starts - 1)}:
            begin = int(first) - 1
        seen_from = int(start) if fresh else seen_from
        for target in range(first, end):
            context = target - seen_from
            if config.mode == "stateful":
                assert context == target - begin
            else:
                asked = windows.ctx_len - stride + (config.mode == "sliding")
                assert min(asked, target - begin) <= context <= min(windows.ctx_len, target - begin)
        assert begin <= start < first < end <= start + windows.ctx_len + 1


@given(scoring=scorings(), size=st.integers(1, 4))
def test_rows_of_a_group_go_on_where_they_stopped(
    scoring: tuple[EvaluationWindows, EvaluationConfig], size: int
) -> None:
    windows, config = scoring
    for group in windows.groups(size):
        assert windows.fresh[group[0]].all()
        assert len(group) == 1 or config.mode == "stateful"
        for rows, after in pairwise(group):
            assert not windows.fresh[after].any()
            assert (windows.starts[after] == windows.starts[rows[: len(after)]] + windows.ctx_len).all()


@given(count=st.integers(2, 90), ctx_len=st.integers(1, 40), size=st.integers(1, 5))
def test_a_stride_of_the_whole_window_is_no_overlap(count: int, ctx_len: int, size: int) -> None:
    tokens = np.arange(count, dtype=np.uint16)
    plain = cut_windows(tokens, ctx_len, ONE_BYTE)
    sliding = cut_windows(tokens, ctx_len, ONE_BYTE, EvaluationConfig(mode="sliding", stride=ctx_len))
    for one, other in zip(plain.batches(size), sliding.batches(size), strict=True):
        assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def test_a_stride_that_skips_text_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.stride: 9 skips text; at most train.ctx_len, which is 8"):
        cut_windows(np.arange(30), 8, ONE_BYTE, EvaluationConfig(mode="sliding", stride=9))


def test_no_windows_are_read_as_one_row_of_padding() -> None:
    tokens, mask = cut_windows(np.arange(30), 8, ONE_BYTE).read(np.zeros(0, dtype=np.int64))
    assert (tokens == 0).all()
    assert tokens.shape == (1, 9)
    assert mask.tolist() == [[False] * 8]
