"""A saved configuration means the same from another working directory, and keeps its signature."""

from __future__ import annotations

from pathlib import Path

import pytest

from camoe.config.absolute_paths import with_absolute_paths
from camoe.config.run import RunConfig
from camoe.config.signature import signature
from tests.small_run import small_run


def local_run(path: str, **tracking: str) -> RunConfig:
    return small_run(data={"source": "local", "path": path, "cache_dir": "cache"}, tracking=tracking)


def test_paths_are_absolute_and_stay_so_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved = with_absolute_paths(local_run("texts/../a.txt", uri="sqlite:///own.db"))
    assert saved.data.path == f"{tmp_path}/a.txt"
    assert saved.data.cache_dir == f"{tmp_path}/cache"
    assert saved.tracking.uri == f"sqlite:///{tmp_path}/own.db"
    monkeypatch.chdir("/")
    assert with_absolute_paths(saved) == saved


def test_initial_weights_are_found_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = small_run(train={"init_from": "weights/w.pth"})
    saved = with_absolute_paths(config)
    assert saved.train.init_from == f"{tmp_path}/weights/w.pth"
    assert signature(saved) == signature(config)


def test_named_sources_and_a_tokenizer_are_found_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sources = {"a": {"dataset": "owner/name"}, "b": {"dataset": "./hub"}, "c": {"path": "c.txt"}}
    data = {"source": "mixture", "sources": sources}
    config = small_run(data=data, tokenizer={"kind": "bpe", "vocab_size": 300, "path": "t.json"})
    saved = with_absolute_paths(config)
    found = [(source.dataset, source.path) for source in saved.data.sources.values()]
    assert found == [("owner/name", None), (f"{tmp_path}/hub", None), (None, f"{tmp_path}/c.txt")]
    assert saved.tokenizer.path == f"{tmp_path}/t.json"
    assert signature(saved) == signature(config)
    assert with_absolute_paths(saved) == saved


def test_what_is_no_path_stays_as_it_is() -> None:
    config = with_absolute_paths(small_run(tracking={"uri": "http://host:5000"}))
    assert (config.data.path, config.tracking.uri) == (None, "http://host:5000")


def test_the_signature_does_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = local_run("a.txt")
    signatures = {signature(here), signature(with_absolute_paths(here)), signature(local_run(f"{tmp_path}/a.txt"))}
    monkeypatch.chdir("/")
    signatures |= {signature(local_run(f"{tmp_path}/a.txt")), signature(with_absolute_paths(local_run("a.txt")))}
    assert len(signatures) == 1
    assert signature(local_run("b.txt")) not in signatures


def test_a_folder_counts_by_its_name_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "texts").mkdir()
    monkeypatch.chdir(tmp_path / "texts")
    named = signature(local_run("/elsewhere/texts/"))
    assert signature(local_run(".")) == named == signature(local_run("../texts"))
