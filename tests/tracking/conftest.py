"""A run folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from camoe.tracking.run_folder import RunFolder

CONFIG = {"model": {"n_embd": 32, "n_layer": 2}, "name": "test", "tracking": {"uri": None}}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    made = RunFolder.create(
        tmp_path / "outputs", "test", "0123abcd", config=CONFIG, provenance={"data": "hash of the data"}
    )
    yield made
    made.unlock()
