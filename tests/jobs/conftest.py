"""A small run for the tests that ask a finished one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.command import SMALL, run, run_folder, text_file


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run with an average of its weights, started with a relative path; nobody changes what it learned."""
    cwd = tmp_path_factory.mktemp("finished")
    text_file(cwd)
    result = run(cwd, *SMALL, "data.path=source.txt", "averaging=swa")
    assert result.returncode == 0, result.stderr
    return run_folder(cwd)
