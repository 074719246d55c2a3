"""Scores by document against a walk over the text, and their standard error against a resampling of documents."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from camoe.data.evaluation_windows import EvaluationWindows, cut_windows
from camoe.inference.document_scores import DocumentScores
from camoe.inference.evaluation import Evaluation, evaluate
from camoe.model.language_model import LanguageModel
from camoe.tracking.routing_statistics import routing_statistics_of
from tests.small_run import small_run

BYTE_LENGTHS = np.array([0, *([1, 2, 3] * 85)], dtype=np.int64)


def _tokens(count: int = 61) -> np.ndarray:
    tokens = np.random.default_rng(0).integers(1, 256, count)
    tokens[[0, 7, 8, 30, 44, count - 1]] = 0
    return tokens.astype(np.uint16)


def _scored(windows: EvaluationWindows) -> Evaluation:
    model = LanguageModel(small_run("off"))
    return evaluate(model, windows, 2, routing_statistics_of(model))


@pytest.mark.parametrize("some", [1, 2, 4, 100])
@pytest.mark.parametrize("ctx_len", [5, 8, 60, 90])
def test_every_target_belongs_to_the_document_that_a_walk_finds(ctx_len: int, some: int) -> None:
    evaluation = _scored(cut_windows(_tokens(), ctx_len, BYTE_LENGTHS).spread(some))
    count, sizes, nats = Counter[int](), Counter[int](), defaultdict[int, float](float)
    for place, loss in zip(evaluation.windows.target_places, evaluation.token_nats, strict=True):
        document = sum(token == 0 for token in _tokens()[:place]) - 1  # separators before it, the opening one aside
        count[document] += 1
        sizes[document] += int(BYTE_LENGTHS[_tokens()[place]])
        nats[document] += float(loss)
    found = DocumentScores.of(evaluation)
    assert dict(zip(found.document.tolist(), found.tokens.tolist(), strict=True)) == dict(count)
    assert found.bytes.tolist() == [sizes[document] for document in sorted(sizes)]
    np.testing.assert_allclose(found.nats, [nats[document] for document in sorted(nats)], rtol=1e-12)


def test_documents_add_up_to_the_evaluation() -> None:
    evaluation = _scored(cut_windows(_tokens(), 8, BYTE_LENGTHS))
    found = DocumentScores.of(evaluation)
    assert found.document.tolist() == [0, 1, 2, 3, 4]
    assert found.tokens.sum() == evaluation.targets
    assert found.bytes.sum() == evaluation.text_bytes
    assert found.nats.sum() == pytest.approx(evaluation.nats, rel=1e-12)


def test_the_standard_error_is_that_of_resampled_documents() -> None:
    random = np.random.default_rng(1)
    sizes = random.integers(50, 2000, 300)
    nats = sizes * random.normal(1.2, 0.2, 300)
    scores = DocumentScores(np.arange(300), sizes, sizes, nats)
    drawn = random.integers(0, 300, (4000, 300))
    resampled = nats[drawn].sum(1) / sizes[drawn].sum(1) / math.log(2)
    assert scores.bpb_error() == pytest.approx(resampled.std(), rel=0.06)


def test_one_document_has_no_standard_error() -> None:
    one = np.array([5])
    assert math.isnan(DocumentScores(one, one, one, one.astype(float)).bpb_error())
