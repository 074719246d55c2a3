"""One test per golden array file: a test that asks for `wkv7_file` runs once for each `wkv7_*` file found.

The files lie in the folder named by `--golden-dir` (default: this one). A folder may hold any subset of the kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

PREFIX_OF_FIXTURE = {
    "wkv7_file": "wkv7_",
    "tmix_file": "tmix_",
    "cmix_file": "cmix_",
    "market_capital_file": "market_capital_",
    "market_settle_file": "market_settle_",
    "market_system_file": "market_system_",
}

Arrays = dict[str, np.ndarray]


def golden_files(folder: Path, prefix: str) -> list[Path]:
    """Files of one kind, whatever their ending: one that is no array file must fail its test, not vanish."""
    return sorted(path for path in folder.glob(f"{prefix}*") if not path.is_dir())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder: Path = metafunc.config.getoption("--golden-dir")
    for fixture, prefix in PREFIX_OF_FIXTURE.items():
        if fixture in metafunc.fixturenames:
            files = golden_files(folder, prefix)
            metafunc.parametrize(fixture, files, ids=[path.name for path in files])


@pytest.fixture
def golden_dir(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.config.getoption("--golden-dir")
    return folder


@pytest.fixture
def read_golden() -> Callable[[Path], Arrays]:
    """Reads every array of a file at once; called inside a test, so an unreadable file is a failure of that test."""

    def read(path: Path) -> Arrays:
        with np.load(path) as archive:
            return {name: archive[name] for name in archive.files}

    return read
