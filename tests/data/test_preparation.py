import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from camoe.config import ConfigError
from camoe.config.data import DataConfig
from camoe.config.tokenizer import TokenizerConfig
from camoe.data import corpus as corpus_module
from camoe.data import packing, preparation
from camoe.data.bpe_tokenizer import BpeTokenizer
from camoe.data.corpus import Corpus
from camoe.data.preparation import prepare
from camoe.data.source import hash_share

BPE = TokenizerConfig(kind="bpe", vocab_size=300)
BYTE = TokenizerConfig(kind="byte", vocab_size=256)

IN_A_PROCESS = """
import os, signal, sys, time
from camoe.config.data import DataConfig
from camoe.config.tokenizer import TokenizerConfig
from camoe.data import preparation
save = preparation.save_corpus
def save_slowly(*arguments):
    if sys.argv[3] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)
    save(*arguments)
    print("made it")
preparation.save_corpus = save_slowly
data = DataConfig(source="local", path=sys.argv[1], valid_fraction=0.2, cache_dir=sys.argv[2])
print(preparation.prepare(data, TokenizerConfig(kind="bpe", vocab_size=300)).fingerprint)
"""


@pytest.fixture
def data(jsonl: Path, tmp_path: Path) -> DataConfig:
    return DataConfig(source="local", path=str(jsonl), valid_fraction=0.2, cache_dir=str(tmp_path / "cache"))


def start(data: DataConfig, how: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", IN_A_PROCESS, str(data.path), data.cache_dir, how]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished_folders(data: DataConfig) -> list[Path]:
    return [manifest.parent for manifest in Path(data.cache_dir).glob("*/manifest.json")]


def test_corpus_holds_the_text(data: DataConfig) -> None:
    corpus = prepare(data, BPE)
    lines = Path(str(data.path)).read_text(encoding="utf-8").splitlines()
    texts = list(dict.fromkeys(json.loads(line)["text"] for line in lines))
    for part, held_out in ((corpus.valid, True), (corpus.train, False)):
        expected = [text for text in texts if (hash_share(text.encode()) < 0.2) == held_out]
        assert corpus.tokenizer.decode(part.tokens.tolist()) == "".join(expected)
        assert part.statistics["documents"] == len(expected)
    assert 0 < corpus.statistics["scale"]["gzip_bits_per_byte"] < 8
    assert 0 < corpus.statistics["scale"]["unigram_bits_per_byte"] < 8
    json.dumps(corpus.statistics)


def test_second_time_reads_the_cache(data: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(data, BPE)
    monkeypatch.setattr(preparation, "_make", None)
    second = prepare(data, BPE)
    assert second.fingerprint == first.fingerprint
    assert second.statistics == first.statistics


@pytest.mark.parametrize(
    "change",
    [
        lambda data: setattr(data, "valid_fraction", 0.3),
        lambda data: setattr(data, "max_train_bytes", 5000),
        lambda data: Path(data.path).write_text(Path(data.path).read_text() + '{"text": "new"}\n'),
        lambda data: os.utime(data.path, ns=(1, 1)),
    ],
)
def test_changed_text_or_settings_are_prepared_again(data: DataConfig, change: Callable[[DataConfig], object]) -> None:
    prepare(data, BYTE)
    change(data)
    prepare(data, BYTE)
    assert len(finished_folders(data)) == 2


def test_fingerprint_is_of_content_not_of_place(data: DataConfig, tmp_path: Path) -> None:
    first = prepare(data, BPE)
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(Path(str(data.path)).read_bytes())
    there = DataConfig(source="local", path=str(moved), valid_fraction=0.2, cache_dir=str(tmp_path / "other cache"))
    assert prepare(there, BPE).fingerprint == first.fingerprint
    assert prepare(data, BYTE).fingerprint != first.fingerprint


@pytest.mark.parametrize("point", ["pack", "save_corpus"])
def test_interrupted_preparation_leaves_nothing_that_looks_finished(
    data: DataConfig, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(preparation, point, interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(data, BPE)
    assert not finished_folders(data)
    assert prepare(data, BPE).train.is_whole()
    assert not list(Path(data.cache_dir).glob("*.partial"))


def files_of(corpus: Corpus) -> dict[str, bytes]:
    """Content by name; the manifest without the seconds it took."""
    facts = {name: value for name, value in corpus.statistics.items() if name != "seconds"}
    names = ("tokenizer.json", "train.bin", "train.documents.npz", "valid.bin", "valid.documents.npz")
    contents = {name: (corpus.folder / name).read_bytes() for name in names}
    assert {path.name for path in corpus.folder.iterdir()} == {*names, "manifest.json"}
    return contents | {"manifest.json": json.dumps(facts).encode()}


@pytest.mark.parametrize("after", [0, 1, 2, 5])
def test_gone_on_with_after_any_part(data: DataConfig, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Identical files, and no document is tokenised twice."""
    monkeypatch.setattr(packing, "BATCH_CHARACTERS", 4000)
    whole = files_of(prepare(replace(data, cache_dir=f"{data.cache_dir}-whole"), BPE))
    encoded: list[str] = []
    encode = BpeTokenizer.encode_batch

    def encode_some(tokenizer: BpeTokenizer, texts: list[str]) -> list[list[int]]:
        if limit is not None and len(encoded) >= limit:
            raise KeyboardInterrupt
        encoded.append(texts[0])
        return encode(tokenizer, texts)

    monkeypatch.setattr(BpeTokenizer, "encode_batch", encode_some)
    limit: int | None = after
    with pytest.raises(KeyboardInterrupt):
        prepare(data, BPE)
    limit = None
    monkeypatch.setattr(BpeTokenizer, "train", None)  # nor is the tokenizer trained twice
    assert files_of(prepare(data, BPE)) == whole
    assert len(encoded) == len(set(encoded)) > 5


def test_manifest_is_written_last(data: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(path: Path, content: dict[str, Any]) -> None:
        seen.append((path.name, sorted(file.name for file in path.parent.iterdir())))
        write(path, content)

    seen: list[tuple[str, list[str]]] = []
    write = corpus_module.write_json
    monkeypatch.setattr(corpus_module, "write_json", look)
    prepare(data, BYTE)
    name, present = seen[-1]
    assert name == "manifest.json"
    expected = ["tokenizer.json", "train.bin", "train.documents.npz", "valid.bin", "valid.documents.npz"]
    assert [file for file in present if file != "parts"] == expected


def test_files_are_on_the_disk_before_the_folder_has_its_name(
    data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flush(path: Path) -> None:
        events.append(path.name)
        real_flush(path)

    def replace_folder(source: Path, target: Path) -> None:
        events.append("named")
        real_replace(source, target)

    events: list[str] = []
    real_flush, real_replace = preparation.flush_to_disk, os.replace
    monkeypatch.setattr(preparation, "flush_to_disk", flush)
    monkeypatch.setattr(preparation.os, "replace", replace_folder)
    contents = files_of(prepare(data, BYTE))
    named = [number for number, event in enumerate(events) if event == "named"][-1]
    assert set(contents) <= set(events[:named])


def test_killed_preparation_is_gone_on_with(data: DataConfig) -> None:
    killed = start(data, "killed")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert not finished_folders(data)
    assert prepare(data, BPE).train.is_whole()
    assert not list(Path(data.cache_dir).glob("*.partial"))


def test_two_processes_at_once_make_it_once(data: DataConfig) -> None:
    processes = [start(data, "slowly") for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    words = [output.split("\n") for output, _ in outputs]
    assert sum("made it" in lines for lines in words) == 1
    assert words[0][-2] == words[1][-2] == prepare(data, BPE).fingerprint


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip_a_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, _cut) for name in ("manifest.json", "tokenizer.json", "train.bin", "valid.documents.npz")]
    + [
        ("manifest.json", lambda _: b"[1, 2]"),
        ("tokenizer.json", lambda content: bytes(len(content))),
        ("train.documents.npz", _flip_a_bit),
    ],
)
def test_damaged_cache_is_made_again(
    data: DataConfig, caplog: pytest.LogCaptureFixture, name: str, damage: Callable[[bytes], bytes]
) -> None:
    whole = files_of(prepare(data, BPE))
    (folder,) = finished_folders(data)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    assert files_of(prepare(data, BPE)) == whole
    assert f"prepared text in {folder} is damaged" in caplog.text


def test_a_bit_among_the_tokens_is_found_when_every_byte_is_read(data: DataConfig) -> None:
    whole = files_of(prepare(data, BPE))
    (folder,) = finished_folders(data)
    (folder / "train.bin").write_bytes(_flip_a_bit((folder / "train.bin").read_bytes()))
    assert files_of(prepare(data, BPE)) != whole
    assert files_of(prepare(data, BPE, every_byte=True)) == whole


def test_damaged_merges_are_learned_again(data: DataConfig) -> None:
    whole = prepare(data, BPE)
    (merges,) = Path(data.cache_dir).glob("tokenizers/*.json")
    merges.write_bytes(_cut(merges.read_bytes()))
    shutil.rmtree(whole.folder)
    assert prepare(data, BPE).fingerprint == whole.fingerprint


def test_no_file_of_the_cache_leads_out_of_it(data: DataConfig, tmp_path: Path) -> None:
    corpus = prepare(data, BYTE)
    (tmp_path / "foreign.bin").write_bytes(b"1" * 64)
    statistics = json.loads((corpus.folder / "manifest.json").read_text())
    statistics["train"] |= {"split": "../../foreign", "path": "../../foreign.bin"}
    (corpus.folder / "manifest.json").write_text(json.dumps(statistics))
    assert np.array_equal(prepare(data, BYTE).train.tokens, corpus.train.tokens)


def test_part_without_a_document_is_refused(tmp_path: Path, data: DataConfig) -> None:
    path = tmp_path / "one.txt"
    path.write_text("a single short line\n")
    with pytest.raises(ConfigError, match=r"no document in the (held-out|training) part"):
        prepare(DataConfig(source="local", path=str(path), cache_dir=data.cache_dir), BYTE)
    assert not list(Path(data.cache_dir).glob("local-*/"))


def test_cache_that_cannot_be_made_is_refused(tmp_path: Path, data: DataConfig) -> None:
    (tmp_path / "file").touch()
    data.cache_dir = str(tmp_path / "file" / "cache")
    with pytest.raises(ConfigError, match=r"data\.cache_dir"):
        prepare(data, BYTE)


def test_progress_is_told(data: DataConfig) -> None:
    told: list[tuple[str, int]] = []
    corpus = prepare(data, BYTE, progress=lambda stage, done: told.append((stage, done)))
    assert ("tokenising train", corpus.train.text_bytes) in told


@pytest.mark.slow
def test_default_corpus_is_fast(tmp_path: Path) -> None:
    start_time = time.perf_counter()
    corpus = prepare(DataConfig(cache_dir=str(tmp_path)), TokenizerConfig())
    first = time.perf_counter() - start_time
    start_time = time.perf_counter()
    prepare(DataConfig(cache_dir=str(tmp_path)), TokenizerConfig())
    assert time.perf_counter() - start_time < 1.0
    assert first < 60
    assert corpus.train.statistics["bytes_per_token"] > 3.3
