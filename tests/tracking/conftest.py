"""A run folder, and a migrated MLflow store per test: migrating takes six seconds, copying the file none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from camoe.tracking import mlflow_store
from camoe.tracking.run_folder import RunFolder

CONFIG = {"model": {"n_embd": 32, "n_layer": 2}, "name": "test", "tracking": {"uri": None}}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    made = RunFolder.create(
        tmp_path / "outputs", "test", "0123abcd", config=CONFIG, provenance={"data": "hash of the data"}
    )
    yield made
    made.unlock()


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow_store.prepare_environment()
    from mlflow.tracking import MlflowClient

    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(tmp_path: Path, migrated_store: Path) -> str:
    """URI of an empty, migrated store in the test's own folder."""
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"
