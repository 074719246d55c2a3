"""Runs are found by the signature in their folder's name, newest first, from one listing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_index import RunIndex

A, B = "0123456789", "abcdef0123"


def made(root: Path, when: str, signature: str, name: str = "run") -> Path:
    folder = RunFolder.create(root, name, signature, config={}, now=datetime.fromisoformat(when))
    folder.unlock()
    return folder.path


def test_newest_first_whatever_the_name(tmp_path: Path) -> None:
    old = made(tmp_path, "2026-01-02T10:00:00", A)
    other = made(tmp_path, "2026-01-02T11:00:00", B)
    new = made(tmp_path, "2026-01-03T09:00:00", A, name="a-b.c")
    twin = made(tmp_path, "2026-01-03T09:00:00", A, name="a-b.c")
    (tmp_path / "sweeps" / "study").mkdir(parents=True)
    index = RunIndex(tmp_path)
    assert index.signed(A) == [twin, new, old]
    assert index.signed(B) == [other]
    assert index.signed("9999999999") == []
    assert index.everything() == [old, other, new, twin]


def test_only_those_made_since(tmp_path: Path) -> None:
    made(tmp_path, "2026-01-02T10:00:00", A)
    new = made(tmp_path, "2026-01-03T09:00:00", A)
    index = RunIndex(tmp_path)
    assert index.signed(A, since=datetime(2026, 1, 3, 9, 0, 0, 999)) == [new]
    assert index.signed(A, since=datetime(2026, 1, 3, 9, 0, 1)) == []


def test_no_output_folder_yet(tmp_path: Path) -> None:
    assert RunIndex(tmp_path / "none").signed(A) == []


def test_a_folder_is_listed_once_however_many_runs_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(400):
        (tmp_path / f"2026-01-{number % 20 + 1:02d}" / f"10-00-00-run-{number:010x}").mkdir(parents=True)
    listed: list[Path] = []
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: listed.append(self) or listing(self))
    index = RunIndex(tmp_path)
    assert all(len(index.signed(f"{number:010x}")) == 1 for number in range(400))
    assert len(listed) == 21  # the root and its days: no run
