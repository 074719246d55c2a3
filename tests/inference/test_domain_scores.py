"""Domains: the sums of their own documents, together the whole evaluation; their names stay with the packed text."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from camoe.config import ConfigError
from camoe.config.data import DataConfig
from camoe.config.tokenizer import TokenizerConfig
from camoe.data.document_domains import held_out_domains
from camoe.data.evaluation_windows import evaluation_windows
from camoe.data.preparation import prepare
from camoe.data.python_parts import PARTS, held_out_parts
from camoe.inference.document_scores import DocumentScores
from camoe.inference.domain_scores import domain_scores
from camoe.inference.evaluation import evaluate
from camoe.inference.part_scores import part_scores
from camoe.tracking.routing_statistics import routing_statistics_of
from tests.inference.test_continuation_scores import the_model

# A document that is dropped as empty and one that is a copy: the names behind them must not slip.
HELD_OUT = [("a", "one is here"), ("a", " \n"), ("b", "zwei é"), ("c", "one  is here"), ("b", "drei"), ("a", "four")]


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    for split, records in (("train", [("x", "some other text")]), ("valid", HELD_OUT)):
        lines = [json.dumps({"kind": kind, "text": text}) + "\n" for kind, text in records]
        (tmp_path / f"{split}.jsonl").write_text("".join(lines))
    return DataConfig(source="local", path=str(tmp_path), cache_dir=str(tmp_path / "cache"))


def test_names_follow_the_documents_that_were_packed(data: DataConfig) -> None:
    assert held_out_domains(data, "kind") == ["a", "b", "b", "a"]
    assert held_out_domains(data) == ["valid.jsonl"] * 4
    corpus = prepare(data, TokenizerConfig(kind="byte", vocab_size=256))
    assert corpus.valid.document_bytes.tolist() == [11, 7, 4, 4]


def test_domains_are_sums_of_their_documents_and_together_the_whole(data: DataConfig) -> None:
    corpus = prepare(data, TokenizerConfig(kind="byte", vocab_size=256))
    model = the_model()
    result = evaluate(model, evaluation_windows(corpus, 8), 2, routing_statistics_of(model))
    documents = DocumentScores.of(result)
    first, second = domain_scores(documents, held_out_domains(data, "kind"))
    assert [(score.domain, score.documents, score.bytes) for score in (first, second)] == [("a", 2, 15), ("b", 2, 11)]
    assert first.tokens == 15 + 2  # a closing separator is a target as well
    assert first.nats == pytest.approx(documents.nats[0] + documents.nats[3])
    assert first.bits_per_byte == pytest.approx(first.nats / math.log(2) / 15)
    assert second.loss == pytest.approx(second.nats / 13)
    assert first.bytes + second.bytes == result.text_bytes
    assert first.tokens + second.tokens == result.targets
    assert first.nats + second.nats == pytest.approx(result.nats, rel=1e-6)


def test_the_default_text_is_divided_by_package(tmp_path: Path) -> None:
    domains = held_out_domains(DataConfig(cache_dir=str(tmp_path), max_valid_bytes=200_000))
    assert "modules" in domains
    assert len({*domains}) > 1


def test_a_field_that_is_not_there_is_refused_in_one_line(data: DataConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^evaluation.domain_field: .*valid.jsonl line 1 .*did you mean kind\?"):
        held_out_domains(data, "kinds")
    with pytest.raises(ConfigError, match=r"evaluation.domain_field: 'kind', but python_stdlib has no records"):
        held_out_domains(DataConfig(), "kind")
    text = tmp_path / "plain.txt"
    text.write_text("plain text\n" * 2000)
    with pytest.raises(ConfigError, match=r"evaluation.domain_field: .*plain.txt has no fields"):
        held_out_domains(DataConfig(source="local", path=str(text), valid_fraction=0.5), "kind")


def test_scores_of_few_documents_keep_their_own_names() -> None:
    scores = DocumentScores(np.array([1, 3]), np.array([5, 6]), np.array([5, 0]), np.array([2.0, 3.0]))
    first, empty = domain_scores(scores, ["w", "x", "y", "z"])
    assert (first.domain, first.documents, empty.domain) == ("x", 1, "z")
    assert math.isnan(empty.bits_per_byte)


def test_parts_of_modules_add_up_to_the_whole(tmp_path: Path) -> None:
    data = DataConfig(cache_dir=str(tmp_path), max_train_bytes=30_000, max_valid_bytes=12_000)
    corpus = prepare(data, TokenizerConfig(kind="byte", vocab_size=256))
    model = the_model()
    result = evaluate(model, evaluation_windows(corpus, 64), 8, routing_statistics_of(model))
    scores = part_scores(result, held_out_parts(corpus), PARTS)
    assert [score.domain for score in scores] == [*PARTS, "end of document"]
    assert scores[-1].bytes == 0
    assert scores[-1].tokens == corpus.valid.statistics["documents"]
    for name, whole in (("bytes", result.text_bytes), ("tokens", result.targets)):
        assert sum(getattr(score, name) for score in scores) == whole
    assert sum(score.nats for score in scores) == pytest.approx(result.nats, rel=1e-6)
