"""Folders in the hub's layout stand for data sets; there is no hub in a test."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest

from camoe.config import ConfigError
from camoe.config.data import DataConfig
from camoe.config.text_source import SourceConfig
from camoe.config.tokenizer import TokenizerConfig
from camoe.data import hub_copy
from camoe.data.answer_data import prepare_answers
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.data.document_domains import held_out_domains
from camoe.data.hub_copy import HubCopy
from camoe.data.hub_stream import HubStream
from camoe.data.preparation import cached, prepare

BYTE = TokenizerConfig(kind="byte", vocab_size=256)


def quiet(stage: str, done: int) -> None: ...


@pytest.fixture
def hub(tmp_path: Path, modules: list[str]) -> str:
    """Two parquet files of 60 records each, and a held-out one of 10; a field besides the text."""
    import pyarrow
    from pyarrow import parquet

    folder = tmp_path / "hub" / "data"
    folder.mkdir(parents=True)
    texts = iter(
        dict.fromkeys(f"Of a hub: {part}" for text in modules for part in text.split("\n\n") if len(part) > 100)
    )
    for name, count in (("train-00000-of-00002", 60), ("train-00001-of-00002", 60), ("validation-00000-of-00001", 10)):
        table = pyarrow.table({"text": list(itertools.islice(texts, count)), "score": [1.0] * count})
        parquet.write_table(table, folder / f"{name}.parquet", row_group_size=16)
    return str(folder.parent)


def copy_of(hub: str, cache: Path, **settings: Any) -> HubCopy:
    return HubCopy(SourceConfig(dataset=hub, **settings), "train", ["text"], "data.sources.x", cache)


def contents(copy: HubCopy) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in copy.folder.iterdir() if path.name != ".lock"}


def test_copy_holds_the_records(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_copy, "PART_BYTES", 3000)
    copy = copy_of(hub, tmp_path / "cache")
    assert not copy.is_complete
    copy.fetch(quiet)
    records = [record for _, record in copy.records()]
    assert copy.is_complete
    assert len(copy.identity()) > 5
    assert [set(record) for record in records] == [{"text"}] * 120
    from pyarrow import parquet

    files = sorted(Path(hub).glob("data/train-*"))
    assert [record["text"] for record in records] == [
        text for file in files for text in parquet.read_table(file)["text"].to_pylist()
    ]


@pytest.mark.parametrize("at", [0, 7, 61, 119])
def test_interrupted_copy_goes_on_where_it_stood(
    hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Identical files, and nothing but the unfinished part is read again."""
    monkeypatch.setattr(hub_copy, "PART_BYTES", 3000)
    whole, copy = copy_of(hub, tmp_path / "whole"), copy_of(hub, tmp_path / "cache")
    whole.fetch(quiet)
    read: list[str] = []
    original = HubStream.records

    def counted(stream: HubStream, position: dict[str, Any]) -> Any:
        for record, place in original(stream, position):
            if stop and len(read) == at:
                raise KeyboardInterrupt
            read.append(record["text"])
            yield record, place

    monkeypatch.setattr(HubStream, "records", counted)
    stop = True
    with pytest.raises(KeyboardInterrupt):
        copy.fetch(quiet)
    stop = False
    kept = json.loads((copy.folder / "journal.json").read_text())["records"] if at > 60 else 0
    copy.fetch(quiet)
    assert contents(copy) == contents(whole)
    assert len(read) == 120 + at - kept if at > 60 else len(read) <= 120 + at
    copy.fetch(quiet)
    assert len(read) <= 120 + at


def test_prefix_in_bytes(hub: str, tmp_path: Path) -> None:
    copy = copy_of(hub, tmp_path / "cache", max_bytes=5000)
    copy.fetch(quiet)
    sizes = [len(record["text"].encode()) for _, record in copy.records()]
    assert sum(sizes[:-1]) < 5000 <= sum(sizes)


def mixture(hub: str, tmp_path: Path, jsonl: Path) -> DataConfig:
    return DataConfig(
        source="mixture",
        sources={
            "stories": SourceConfig(dataset=hub, valid_split="validation", weight=0.7),
            "paragraphs": SourceConfig(path=str(jsonl), weight=0.3),
        },
        valid_fraction=0.2,
        cache_dir=str(tmp_path / "cache"),
    )


def test_mixture_of_a_data_set_and_a_file(hub: str, tmp_path: Path, jsonl: Path) -> None:
    data = mixture(hub, tmp_path, jsonl)
    assert_not_read_yet(data)
    corpus = prepare(data, BYTE)
    domains = corpus.train.statistics["bytes_by_domain"]
    assert set(domains) == {"stories", "paragraphs"}
    assert domains["stories"] / sum(domains.values()) == pytest.approx(0.7, abs=0.1)
    assert sum(domains.values()) == corpus.train.text_bytes
    assert corpus.folder.name.startswith("stories+paragraphs-byte-256-")
    found = cached(data, BYTE)
    assert found is not None
    assert found.fingerprint == corpus.fingerprint
    assert len(held_out_domains(data)) == corpus.valid.statistics["documents"]
    assert set(held_out_domains(data)) == {"stories", "paragraphs"}


def assert_not_read_yet(data: DataConfig) -> None:
    with pytest.raises(ConfigError, match="has not been read yet"):
        cached(data, BYTE)


def test_other_weights_or_seed_are_other_text(hub: str, tmp_path: Path, jsonl: Path) -> None:
    data = mixture(hub, tmp_path, jsonl)
    first = prepare(data, BYTE).fingerprint
    data.mixture_seed = 1
    second = prepare(data, BYTE).fingerprint
    data.sources["stories"].weight = 0.5
    assert len({first, second, prepare(data, BYTE).fingerprint}) == 3


def test_dialogues_in_the_hubs_layout(tmp_path: Path) -> None:
    folder = tmp_path / "chat"
    folder.mkdir()
    for name, count in (("train", 40), ("test", 10)):
        lines = [
            [{"role": "user", "content": f"{name} {n}?"}, {"role": "assistant", "content": "a" * n + "!"}]
            for n in range(count)
        ]
        lines.append([{"role": "user", "content": "no answer"}])  # nobody can repair what is on the hub
        text = "".join(json.dumps({"prompt_id": "p", "messages": messages}) + "\n" for messages in lines)
        (folder / f"{name}.jsonl").write_text(text)
    sources = {"chat": SourceConfig(dataset=str(folder), valid_split="test")}
    data = DataConfig(sft_sources=sources, cache_dir=str(tmp_path / "cache"))
    answers = prepare_answers("sft", data, ByteTokenizer())
    assert (answers.train.items, answers.valid.items) == (40, 10)
    assert [answers.statistics[part]["broken_dropped"] for part in ("train", "valid")] == [1, 1]
    assert answers.statistics["train"]["row_tokens"]["p100"] > answers.statistics["train"]["row_tokens"]["p0"]
    own = tmp_path / "own.jsonl"
    own.write_text("".join((folder / "test.jsonl").read_text().splitlines(keepends=True)[:-1]))
    both = DataConfig(
        sft_sources={**sources, "own": SourceConfig(path=str(own), weight=2.0)},
        cache_dir=data.cache_dir,
        valid_fraction=0.3,
    )
    mixed = prepare_answers("sft", both, ByteTokenizer())
    assert mixed.fingerprint != answers.fingerprint
    assert mixed.train.items < 40


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "./no/such/folder"}, "data.sources.x.dataset: ./no/such/folder cannot be read ("),
        ({"train_split": "trian"}, "Bad split: trian"),
        ({"subset": "nope"}, "BuilderConfig 'nope' not found"),
        ({"text_field": "txt"}, "has none of txt; did you mean text?"),
    ],
)
def test_mistakes_are_one_line(hub: str, tmp_path: Path, settings: dict[str, str], message: str) -> None:
    source = SourceConfig(**{"dataset": hub, **settings})
    with pytest.raises(ConfigError) as refusal:
        prepare(DataConfig(source="mixture", sources={"x": source}, cache_dir=str(tmp_path / "cache")), BYTE)
    assert not (tmp_path / "cache").exists()
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_without_a_hub_the_local_way_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own address is taken away: nothing listens on port 9."""
    from huggingface_hub import HfApi

    asked = HfApi.dataset_info
    monkeypatch.setattr(
        HfApi, "dataset_info", lambda _, *names, **more: asked(HfApi("http://127.0.0.1:9"), *names, **more)
    )
    data = DataConfig(
        source="mixture", sources={"tales": SourceConfig(dataset="someone/tales")}, cache_dir=str(tmp_path)
    )
    started = time.perf_counter()
    with pytest.raises(ConfigError) as refusal:
        prepare(data, BYTE)
    assert time.perf_counter() - started < 20
    message = str(refusal.value)
    assert message.startswith("data.sources.tales.dataset: someone/tales cannot be read (")
    assert message.endswith("give local files with data.sources.tales.path=FILE or FOLDER")
    assert "\n" not in message
