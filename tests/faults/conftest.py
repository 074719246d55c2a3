"""One server of jobs per test process, and runs that nothing interrupts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.faults.compositions import COMPOSITIONS, TINY
from tests.faults.jobs import JobServer
from tests.faults.reference import Reference


@pytest.fixture(scope="session")
def jobs() -> Iterator[JobServer]:
    """Starts jobs without start-up."""
    with JobServer() as server:
        yield server


@pytest.fixture(scope="session")
def reference(jobs: JobServer, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Reference]:
    """By the name of a composition: what it is compared with. Made when asked for."""

    @cache
    def made(name: str) -> Reference:
        settings = (*TINY, *COMPOSITIONS[name], f"data.path={text}")
        return Reference.made(jobs, tmp_path_factory.mktemp(name), settings)

    return made


@pytest.fixture
def interrupted(reference: Callable[[str], Reference]) -> Callable[[Path], Path]:
    """Makes, in a folder, a run folder of the default composition whose process vanished before it was finished."""

    def made(cwd: Path) -> Path:
        return reference("default").interrupted(cwd)

    return made
