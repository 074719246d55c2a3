"""No golden file may pass unseen: the folder holds some, and each market file is of a kind that a test checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("wkv7_", "tmix_", "cmix_", "market_capital_", "market_settle_", "market_system_")


def test_the_folder_holds_golden_files(golden_dir: Path) -> None:
    assert any(path.name.startswith(KINDS) for path in golden_dir.iterdir()), f"no golden file in {golden_dir}"


def test_every_market_file_is_of_a_known_kind(golden_dir: Path) -> None:
    strangers = [path.name for path in golden_dir.glob("market_*") if not path.name.startswith(KINDS)]
    assert not strangers, f"market files that no test checks: {strangers}"


def run_golden_tests(folder: Path) -> subprocess.CompletedProcess[str]:
    """The golden suite on `folder`, without this test (which would call itself)."""
    command = [sys.executable, "-m", "pytest", "tests/golden", f"--golden-dir={folder}", "-q", "-p", "no:cacheprovider"]
    command += ["--deselect", "tests/golden/test_golden_files.py::test_bad_files_fail"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_bad_files_fail(tmp_path: Path) -> None:
    (tmp_path / "wkv7_unreadable.npz").write_text("not an archive")
    np.savez(tmp_path / "tmix_incomplete.npz", x=np.zeros((1, 1, 16)))
    np.savez(tmp_path / "cmix_incomplete.npz", x=np.zeros((1, 1, 16)))
    np.savez(tmp_path / "market_unheard_of.npz", x=np.zeros(1))
    (tmp_path / "notes.txt").write_text("of no known kind, not checked")
    result = run_golden_tests(tmp_path)
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAILED")]
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout
    for name in ("wkv7_unreadable", "tmix_incomplete", "cmix_incomplete", "every_market_file"):
        assert any(name in line for line in failed), result.stdout
    assert "notes" not in result.stdout


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    result = run_golden_tests(tmp_path / "nowhere")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--golden-dir: no such folder" in result.stderr
