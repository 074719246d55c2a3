"""python -m analysis statement, as a user types it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from analysis.__main__ import main
from tests.analysis.ledger_folder import records, run_folder

IMPORTS = """
import sys
from analysis.__main__ import main
assert main(["statement", sys.argv[1], "--out", sys.argv[2]]) == 0
heavy = [name for name in ("torch", "mlflow", "hydra", "matplotlib.pyplot") if name in sys.modules]
assert not heavy, heavy
"""


def test_the_statement_is_printed_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder(tmp_path, records())
    assert main(["statement", str(folder), "--every", "1e3"]) == 0
    text = capsys.readouterr().out
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()[:8] if line.split()}
    assert lines["1k"] == ["8.00000", "-", "+0.50000", "8.50000"]
    assert lines["2k"] == ["8.50000", "-3.00000", "-", "5.50000"]
    for part in ("experts", "treasury", "critics", "wealth tax", "L01", "to 0e+00 of the balance"):
        assert part in text, part
    assert (folder / "analysis" / "waterfall.png").is_file()


def test_one_layer_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["statement", str(run_folder(tmp_path, records())), "--layer", "1", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "layer 1" in text
    assert "by layer" not in text
    assert (tmp_path / "waterfall_layer_01.svg").is_file()


def test_mistakes_cost_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["statement", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    for every in ("0", "soon", "inf", "nan"):
        assert main(["statement", str(tmp_path), "--every", every]) == 2
        assert f"{every}: must be a number of tokens" in capsys.readouterr().err


def test_reading_needs_no_training_code(tmp_path: Path) -> None:
    command = [sys.executable, "-c", IMPORTS, str(run_folder(tmp_path, records())), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
