"""Options of the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

# Tests run in as many processes as there are cores; torch's own threads would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

DEFAULT_GOLDEN_DIR = Path(__file__).resolve().parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-dir",
        type=Path,
        default=DEFAULT_GOLDEN_DIR,
        help="folder whose golden array files (wkv7_*, tmix_*, cmix_*, market_*) tests/golden checks",
    )


def pytest_configure(config: pytest.Config) -> None:
    folder: Path = config.getoption("--golden-dir")
    if not folder.is_dir():
        raise pytest.UsageError(f"--golden-dir: no such folder: {folder}")
