from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from camoe.tracking.provenance import collect_provenance, git_state, package_versions, without_passwords


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


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


def test_slurm_ids_are_recorded_and_no_other_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    monkeypatch.setenv("SLURM_JWT", "secret-token")
    facts = collect_provenance(device="cpu")
    assert facts["slurm"] == {"SLURM_JOB_ID": "41"}
    assert facts["pid"] == os.getpid()
    assert facts["device"] == "cpu"
    assert "secret-token" not in str(facts)


def test_versions_of_our_requirements() -> None:
    versions = package_versions()
    assert {"torch", "mlflow", "omegaconf"} <= set(versions)
    assert "pytest" not in versions


def test_passwords_do_not_reach_the_record() -> None:
    line = "run.py tracking.uri=https://anna:s3cret@host:5000/x data.path=/a@b"
    assert without_passwords(line) == "run.py tracking.uri=https://***@host:5000/x data.path=/a@b"
