"""Options of the whole suite, real text, and an MLflow store per test: making one takes 6 s, copying its file none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

# Tests run in as many processes as there are cores; torch's own threads would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from benchmarks.small_disk import SmallDisk, mounted
from tests.jobs.command import text_file

DEFAULT_GOLDEN_DIR = Path(__file__).resolve().parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-dir",
        type=Path,
        default=DEFAULT_GOLDEN_DIR,
        help="folder whose golden array files (wkv7_*, tmix_*, cmix_*, market_*) tests/golden checks",
    )
    parser.addoption("--kills", type=int, default=50, help="kill -9 so many processes in tests/faults")
    parser.addoption("--kill-seed", type=int, default=0, help="draws their moments")


def pytest_configure(config: pytest.Config) -> None:
    folder: Path = config.getoption("--golden-dir")
    if not folder.is_dir():
        raise pytest.UsageError(f"--golden-dir: no such folder: {folder}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests killed, and where."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    for report in reports:
        for name, value in report.user_properties:
            if name == "kills" and report.when == "call":
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {value}")


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of real text, for the tests that run the command line; nobody writes to it."""
    return text_file(tmp_path_factory.mktemp("text"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system of 64 MB."""
    with mounted(tmp_path / "disk", "64m") as made:
        if made is None:
            pytest.skip("mounting a file system is not permitted here")
        yield made


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of an empty store; copy it."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    from camoe.tracking.mlflow_store import prepare_environment

    prepare_environment()
    from mlflow.tracking import MlflowClient

    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(tmp_path: Path, migrated_store: Path) -> str:
    """URI of an empty, migrated store in the test's own folder."""
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"
