"""What a copy of the checkout holds, and when two are one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from camoe.config import ConfigError
from camoe.sweeping import code_snapshot
from camoe.sweeping.code_snapshot import take_snapshot
from camoe.tracking.checkout import code_state
from tests.git import git


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with files of every kind."""
    root = tmp_path / "checkout"
    (root / "inner").mkdir(parents=True)
    git(root, "init", "-q")
    (root / ".gitignore").write_text("outputs/\n*.pyc\n")
    for name in ("kept.py", "gone.py", "inner/päth.py", "program.sh"):
        (root / name).write_text(f"# {name}\n")
    (root / "program.sh").chmod(0o755)
    (root / "link.py").symlink_to("kept.py")
    git(root, "add", ".")
    git(root, "commit", "-qm", "all")
    (root / "gone.py").unlink()
    (root / "kept.py").write_text("# edited\n")
    (root / "new.py").write_text("# new\n")
    (root / "kept.pyc").write_text("")
    (root / "outputs").mkdir()
    (root / "outputs" / "big.bin").write_text("x")
    return root


def test_it_holds_what_is_tracked_or_new_as_it_is_now(root: Path, tmp_path: Path) -> None:
    copy = take_snapshot(tmp_path / "code", root)
    found = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_symlink() or path.is_file()}
    names = {".gitignore", "kept.py", "new.py", "inner/päth.py", "program.sh", "link.py", "checkout.json"}
    assert found == names
    assert (copy / "kept.py").read_text() == "# edited\n"
    assert os.access(copy / "program.sh", os.X_OK)
    assert os.readlink(copy / "link.py") == "kept.py"


def test_it_knows_the_checkout_it_was_taken_from(root: Path, tmp_path: Path) -> None:
    state = code_state(root)
    assert state["checkout"] == str(root)
    assert "+# edited" in state["git_diff"]
    assert code_state(take_snapshot(tmp_path / "code", root)) == state


def test_the_same_code_is_copied_once_and_other_code_again(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "code"
    first = take_snapshot(folder, root)
    assert take_snapshot(folder, root) == first
    (root / "new.py").chmod(0o755)
    second = take_snapshot(folder, root)
    (root / "new.py").rename(root / "newer.py")
    third = take_snapshot(folder, root)
    assert sorted(folder.iterdir()) == sorted({first, second, third})


def test_no_checkout_and_data_in_one_are_refused_in_one_line(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="git knows no checkout in"):
        take_snapshot(tmp_path / "code", tmp_path)
    (root / "words.txt").write_text("x" * 5000)
    monkeypatch.setattr(code_snapshot, "LARGEST", 4000)
    with pytest.raises(ConfigError, match=r"ignore what is no code, first words\.txt"):
        take_snapshot(tmp_path / "code", root)
    assert not (tmp_path / "code").exists()
