import json
from pathlib import Path

import pytest

from camoe.config import ConfigError
from camoe.config.data import DataConfig
from camoe.data.local_files import LocalFiles


def test_single_file_is_split_by_the_hash_of_each_document(jsonl: Path) -> None:
    source = LocalFiles(jsonl, "text", 0.2)
    train, valid = list(source.documents("train")), list(source.documents("valid"))
    everything = [json.loads(line)["text"] for line in jsonl.read_text().splitlines()]
    assert sorted(train + valid) == sorted(everything)
    assert not set(train) & set(valid)
    assert 0.08 < len(valid) / len(everything) < 0.35
    assert [text for text in everything if text in set(valid)] == valid


def test_split_does_not_depend_on_the_other_documents(jsonl: Path) -> None:
    valid = set(LocalFiles(jsonl, "text", 0.2).documents("valid"))
    kept = jsonl.read_text().splitlines(keepends=True)[::2]
    jsonl.write_text("".join(kept))
    assert set(LocalFiles(jsonl, "text", 0.2).documents("valid")) <= valid


def test_folder_parts_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "valid.txt").write_text("three\n")
    source = LocalFiles(tmp_path, "text", 0.5)
    assert list(source.documents("train")) == ["one", "two"]
    assert list(source.documents("valid")) == ["three\n"]


def test_half_a_surrogate_pair_does_not_stop_the_split(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "\\ud800 broken"}\n')
    source = LocalFiles(path, "text", 0.5)
    assert len([*source.documents("train"), *source.documents("valid")]) == 1


def refusal_of(path: Path) -> str:
    with pytest.raises(ConfigError) as refusal:
        LocalFiles(path, "text", 0.2)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_mistakes_are_named(tmp_path: Path) -> None:
    (tmp_path / "stories.jsonl").write_text('{"text": "one"}\n')
    (tmp_path / "empty.txt").touch()
    (tmp_path / "table.csv").write_text("a,b\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.txt").write_text("a")
    (tmp_path / "twice").mkdir()
    (tmp_path / "twice" / "train.txt").write_text("a")
    (tmp_path / "twice" / "train.jsonl").write_text("{}")
    assert "did you mean" in refusal_of(tmp_path / "storys.jsonl")
    assert "does not exist" in refusal_of(tmp_path / "nowhere" / "a.txt")
    assert "empty.txt is empty" in refusal_of(tmp_path / "empty.txt")
    assert "table.csv has no known suffix; must be one of .txt" in refusal_of(tmp_path / "table.csv")
    assert "has no valid file" in refusal_of(tmp_path / "folder")
    assert "several train files (train.txt, train.jsonl)" in refusal_of(tmp_path / "twice")


def test_path_without_local_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no effect"):
        DataConfig(path="a.txt")
    with pytest.raises(ConfigError, match=r"data\.path: missing"):
        DataConfig(source="local")
