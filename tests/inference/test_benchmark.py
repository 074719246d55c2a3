"""Benchmarks through lm-evaluation-harness on a task file of our own: figures by hand, errors, refusals, no network."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import yaml

from camoe.config import ConfigError
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.inference.benchmark import run_benchmarks
from camoe.inference.benchmark_figures import BenchmarkFigure, DocumentFigures, standard_error
from camoe.inference.continuation_scores import ContinuationScorer
from tests.inference.test_continuation_scores import plain_score, the_model

DOCUMENTS = [
    {"text": "the cat sat on the mat", "choices": ["yes", "no", "it may be"], "gold": 1, "kind": "pet"},
    {"text": "a dog is", "choices": ["big", "cat"], "gold": 0, "kind": "pet"},
    {"text": "zebra", "choices": ["one", "two", "three"], "gold": 2, "kind": "wild"},
]
SPLIT = {"dataset_path": "json", "test_split": "test"}
WORD = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}",
    "doc_to_target": "{{' '+text.split(' ')[-1]}}",
    "metric_list": [{"metric": "perplexity", "aggregation": "perplexity"}, {"metric": "acc", "aggregation": "mean"}],
}
CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{text}}",
    "doc_to_target": "{{gold}}",
    "doc_to_choice": "{{choices}}",
    "metric_list": [{"metric": "acc", "aggregation": "mean"}, {"metric": "acc_norm", "aggregation": "mean"}],
}
ROLLING = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{text}}",
    "metric_list": [{"metric": name} for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
}
ANSWER = {
    "output_type": "generate_until",
    "doc_to_text": "{{text}}",
    "doc_to_target": "x",
    "generation_kwargs": {"until": ["q"], "max_gen_toks": 5},
    "metric_list": [{"metric": "exact_match"}],
}
TASKS: dict[str, dict[str, Any]] = {"word": WORD, "choice": CHOICE, "rolling": ROLLING}


def write_tasks(folder: Path, tasks: dict[str, dict[str, Any]] = TASKS) -> Path:
    """A folder with these task files and their data."""
    (folder / "tasks").mkdir(parents=True)
    (folder / "documents.jsonl").write_text("".join(json.dumps(document) + "\n" for document in DOCUMENTS))
    for name, task in tasks.items():
        data = {"dataset_kwargs": {"data_files": {"test": "documents.jsonl"}}}
        (folder / "tasks" / f"{name}.yaml").write_text(yaml.safe_dump({**SPLIT, **data, **task}))
    return folder


def refuse_to_connect(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("the network was asked")


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def plain_total(context: str, continuation: str) -> float:
    """Log-probability in nats, by a forward pass per token."""
    encode = ByteTokenizer().encode
    return sum(plain_score((0, *encode(context)), tuple(encode(continuation)))[0])


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], BenchmarkFigure]:
    folder = write_tasks(tmp_path_factory.mktemp("task_data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse_to_connect)
        patch.setattr(socket, "getaddrinfo", refuse_to_connect)
        scorer = ContinuationScorer(the_model(), 64, 16)
        found = run_benchmarks(scorer, ByteTokenizer(), [*TASKS], folder, folder / "cache")
    assert [figure.n for figure in found] == [len(DOCUMENTS)] * len(found)
    return {(figure.task, figure.metric): figure for figure in found}


def test_word_prediction_is_that_of_a_plain_computation(figures: dict[tuple[str, str], BenchmarkFigure]) -> None:
    pairs = [text["text"].rpartition(" ") for text in DOCUMENTS]  # type: ignore[attr-defined]
    totals = np.array([plain_total(before, f" {last}") for before, _, last in pairs])
    perplexity = figures["word", "perplexity"]
    assert perplexity.value == pytest.approx(math.exp(-totals.mean()), rel=1e-4)
    assert perplexity.error == pytest.approx(perplexity.value * totals.std(ddof=1) / math.sqrt(3), rel=1e-4)


def test_the_chosen_answers_are_the_likeliest(figures: dict[tuple[str, str], BenchmarkFigure]) -> None:
    right, right_by_length = [], []
    for document in DOCUMENTS:
        choices: Any = document["choices"]
        totals = np.array([plain_total(str(document["text"]), f" {choice}") for choice in choices])
        right.append(totals.argmax() == document["gold"])
        right_by_length.append((totals / [len(choice) for choice in choices]).argmax() == document["gold"])
    for metric, expected in (("acc", right), ("acc_norm", right_by_length)):
        figure = figures["choice", metric]
        assert figure.value == pytest.approx(np.mean(expected))
        assert figure.error == pytest.approx(np.std(expected, ddof=1) / math.sqrt(3))


def test_rolling_perplexities_are_of_words_and_of_bytes(figures: dict[tuple[str, str], BenchmarkFigure]) -> None:
    texts = [str(document["text"]) for document in DOCUMENTS]
    nats = -np.array([plain_total("", text) for text in texts])
    sizes = np.array([len(text.encode()) for text in texts])
    words = sum(len(text.split()) for text in texts)
    bits = figures["rolling", "bits_per_byte"]
    assert bits.value == pytest.approx(nats.sum() / math.log(2) / sizes.sum(), rel=1e-5)
    assert figures["rolling", "byte_perplexity"].value == pytest.approx(2**bits.value, rel=1e-5)
    assert figures["rolling", "word_perplexity"].value == pytest.approx(math.exp(nats.sum() / words), rel=1e-4)
    rest = nats - nats.sum() / sizes.sum() * sizes
    assert bits.error == pytest.approx(math.sqrt(3 / 2 * (rest**2).sum()) / sizes.sum() / math.log(2), rel=1e-4)


def _totals() -> list[float]:
    """Log-probability of the last word of each document."""
    pairs = [str(document["text"]).rpartition(" ") for document in DOCUMENTS]
    return [plain_total(before, f" {last}") for before, _, last in pairs]


def _run(folder: Path, cache: Path, **settings: Any) -> list[BenchmarkFigure]:
    scorer = ContinuationScorer(the_model(), 64, 16)
    return run_benchmarks(scorer, ByteTokenizer(), ["word"], folder, cache, **settings)


@pytest.mark.parametrize(("limit", "taken"), [(1, [0]), (2, [0, 2]), (9, [0, 1, 2])])
def test_a_limit_takes_documents_evenly(tmp_path: Path, limit: int, taken: list[int]) -> None:
    perplexity, _ = _run(write_tasks(tmp_path / "data", {"word": WORD}), tmp_path / "cache", limit=limit)
    assert perplexity.n == len(taken)
    assert perplexity.value == pytest.approx(math.exp(-np.mean([_totals()[number] for number in taken])), rel=1e-4)
    assert math.isnan(perplexity.error) == (limit == 1)


def test_figures_by_a_field_of_the_documents(tmp_path: Path) -> None:
    found = _run(write_tasks(tmp_path / "data", {"word": WORD}), tmp_path / "cache", group_field="kind")
    one, two, three = _totals()
    by_part = {figure.part: figure for figure in found if figure.metric == "perplexity"}
    assert list(by_part) == ["", "mean over kind", "kind=pet", "kind=wild"]
    assert by_part["kind=pet"].value == pytest.approx(math.exp(-(one + two) / 2), rel=1e-4)
    assert by_part["kind=wild"].value == pytest.approx(math.exp(-three), rel=1e-4)
    halves = (by_part["kind=pet"].value + by_part["kind=wild"].value) / 2
    assert by_part["mean over kind"].value == pytest.approx(halves, rel=1e-12)
    assert [figure.n for figure in by_part.values()] == [3, 3, 2, 1]


def test_the_error_of_a_mean_over_groups_is_of_independent_figures() -> None:
    documents = DocumentFigures("t", "acc", mean, [0.0, 1.0, 1.0, 1.0, 0.0], list("aabbb"))
    figures = {figure.part: figure for figure in documents.figures("f")}
    assert figures["f=a"].error == pytest.approx(0.5)
    assert figures["f=b"].error == pytest.approx(1 / 3)
    assert figures["mean over f"].error == pytest.approx(math.hypot(0.5, 1 / 3) / 2)


def test_a_field_that_no_document_has_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.group_field: no field 'knd'; did you mean kind\?"):
        _run(write_tasks(tmp_path / "data", {"word": WORD}), tmp_path / "cache", group_field="knd")


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (
            {"dataset_path": "EleutherAI/lambada_openai"},
            "'EleutherAI/lambada_openai', which is no local data",
        ),
        ({"dataset_kwargs": {}}, "has no dataset_kwargs.data_files"),
        ({"dataset_kwargs": {"data_files": {"test": "gone.jsonl"}}}, "'gone.jsonl' is not in"),
        ({"dataset_kwargs": {"data_files": ["../documents.jsonl"]}}, r"'\.\./documents\.jsonl' lies outside"),
        ({"dataset_kwargs": {"data_files": "/etc/hostname"}}, "'/etc/hostname' lies outside"),
        ({"include": "other.yaml"}, "include is not read here"),
        ({"group": "several"}, "group is not read here"),
        ({"metric_list": [{"metric": "acc", "hf_evaluate": True}]}, "must be 'metric: NAME'"),
        ({"metric_list": ["acc"]}, "must be 'metric: NAME'"),
        ({"metric_list": {"metric": "acc"}}, "must be 'metric: NAME'"),
        ({"output_type": "likelihood"}, "does not take a task file .*invalid output_type"),
        ({"doc_to_txt": "{{text}}"}, "does not take a task file .*doc_to_txt"),
        ({"doc_to_text": "{{text"}, "evaluation.tasks: .*unexpected end of template"),
        ({"metric_list": [{"metric": "perplexit"}]}, "no metric 'perplexit'; did you mean perplexity"),
    ],
)
def test_what_is_not_local_is_refused_in_one_line(tmp_path: Path, task: dict[str, Any], words: str) -> None:
    folder = write_tasks(tmp_path / "data", {"word": {**WORD, **task}})
    with pytest.raises(ConfigError, match=words) as refusal:
        run_benchmarks(ContinuationScorer(the_model(), 64, 16), ByteTokenizer(), ["word"], folder, tmp_path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("metric", ["program", "./program", "{folder}/program.py"])
def test_a_metric_that_is_a_program_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str) -> None:
    ran = tmp_path / "ran"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program").mkdir()
    for file in (tmp_path / "program.py", tmp_path / "program" / "program.py"):
        file.write_text(f"open({str(ran)!r}, 'w')\n")
    entry = {"metric": metric.format(folder=tmp_path)}
    folder = write_tasks(tmp_path / "data", {"word": {**WORD, "metric_list": [entry]}})
    with pytest.raises(ConfigError, match="no metric"):
        _run(folder, tmp_path / "cache")
    assert not ran.exists()


@pytest.mark.parametrize("field", ["doc_to_text", "doc_to_target"])
def test_a_template_cannot_execute_code(tmp_path: Path, field: str) -> None:
    ran = tmp_path / "ran"
    builtins = "text.__class__.__mro__[1].__subclasses__()[0].__init__.__globals__.__builtins__"
    escapes = (f"{{{{ {builtins}.open({str(ran)!r}, 'w') }}}}", "{{ cycler.__init__.__globals__.os.system('true') }}")
    for number, template in enumerate(escapes):
        folder = write_tasks(tmp_path / str(number), {"word": {**WORD, field: template}})
        with pytest.raises(ConfigError, match=r"evaluation\.tasks: .* is unsafe"):
            _run(folder, tmp_path / "cache")
    assert not ran.exists()


def test_a_task_without_a_file_names_the_nearest(tmp_path: Path) -> None:
    folder = write_tasks(tmp_path / "data")
    scorer = ContinuationScorer(the_model(), 64, 16)
    with pytest.raises(ConfigError, match="no task file 'wrd'; did you mean word"):
        run_benchmarks(scorer, ByteTokenizer(), ["wrd"], folder, tmp_path)
    with pytest.raises(ConfigError, match="is no folder"):
        run_benchmarks(scorer, ByteTokenizer(), ["word"], folder / "gone", tmp_path)


def test_an_unknown_aggregation_has_no_error() -> None:
    assert math.isnan(standard_error("f1_score", 0.5, [0.0, 1.0]))
