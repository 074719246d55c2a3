"""Where the running code comes from, in a checkout and in a copy of one."""

from __future__ import annotations

from pathlib import Path

from camoe.tracking.checkout import CODE, checkout, code_state, git_state
from tests.git import git


def test_git_state_of_clean_changed_and_no_checkout(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {}
    git(tmp_path, "init", "-qb", "trunk")
    (tmp_path / "a.txt").write_text("one\n")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-qm", "first")
    clean = git_state(tmp_path)
    assert (clean["git_branch"], clean["git_dirty"], clean["git_diff"]) == ("trunk", False, "")
    (tmp_path / "a.txt").write_text("two\n")
    (tmp_path / "new.txt").write_text("")
    changed = git_state(tmp_path)
    assert changed["git_dirty"]
    assert "+two" in changed["git_diff"]
    assert changed["git_untracked"] == ["new.txt"]
    (tmp_path / "inside").mkdir()
    assert git_state(tmp_path / "inside") == {}


def test_code_that_is_no_copy_is_its_own_checkout() -> None:
    assert checkout() == CODE
    assert code_state() == {"checkout": str(CODE), **git_state(CODE)}
