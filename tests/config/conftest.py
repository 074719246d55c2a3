"""Hydra, ready to compose, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from compositions import hydra_ready


@pytest.fixture(scope="module")
def hydra() -> Iterator[None]:
    """Initialised once per file."""
    with hydra_ready():
        yield
