"""data.reset_at_boundaries: rows of one document each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from camoe.config.data import DataConfig
from camoe.config.tokenizer import TokenizerConfig
from camoe.data.answer_loader import AnswerLoader
from camoe.data.corpus import Corpus
from camoe.data.document_rows import DocumentRows
from camoe.data.preparation import prepare
from camoe.training.training_text import TrainingText
from tests.small_run import small_run


@pytest.fixture
def corpus(jsonl: Path, tmp_path: Path) -> Corpus:
    data = DataConfig(source="local", path=str(jsonl), valid_fraction=0.2, cache_dir=str(tmp_path / "cache"))
    return prepare(data, TokenizerConfig(kind="byte", vocab_size=256))


@pytest.mark.parametrize("ctx_len", [1, 7, 64, 5000])
def test_every_token_is_the_target_of_one_row(corpus: Corpus, ctx_len: int) -> None:
    rows = DocumentRows(corpus, ctx_len)
    targets: Counter[int] = Counter()
    for start in range(0, len(rows.items), 97):
        tokens, inside = rows.read(rows.items[start : start + 97])
        targets.update(tokens[:, 1:][inside].tolist())
        assert tokens.shape[1] - 1 <= ctx_len
    assert targets == Counter(corpus.train.tokens[1:].tolist())


def test_no_row_holds_tokens_of_two_documents(corpus: Corpus) -> None:
    """A separator is the first input of a row, or its last target, and nothing between."""
    longest = int(np.diff(corpus.train.document_starts, append=len(corpus.train.tokens)).max())
    for ctx_len in (7, longest):
        rows = DocumentRows(corpus, ctx_len)
        tokens, inside = rows.read(rows.items)
        for row, length in zip(tokens, rows.row_lengths, strict=True):
            assert 0 not in row[1 : length - 1]
        assert inside.sum(1).tolist() == (rows.row_lengths - 1).tolist()
    decode = corpus.tokenizer.decode
    assert len(tokens) == corpus.train.statistics["documents"]
    assert "".join(decode(row) for row in tokens) == decode(corpus.train.tokens)


def test_the_setting_chooses_the_loader(corpus: Corpus) -> None:
    text = TrainingText.of(small_run(data={"reset_at_boundaries": True}), corpus)
    assert isinstance(text.loader, AnswerLoader)
    drawn = text.loader.rows_of(3)
    assert drawn.tokens.shape[0] == 4
    assert drawn.learned is not None
    assert drawn.tokens.shape[1] - 1 == drawn.learned.sum(1).max()
    assert np.array_equal(text.loader.rows_of(3).tokens, drawn.tokens)
    assert not isinstance(TrainingText.of(small_run(), corpus).loader, AnswerLoader)
