"""Two processes that are told to use one run folder: the second is refused, and the first does not notice."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.evidence import assert_same_end
from tests.faults.jobs import PATIENCE, Done, JobServer, start_command
from tests.faults.reference import Reference

pytestmark = pytest.mark.slow


def test_the_second_is_refused_in_a_line_that_names_the_first(
    jobs: JobServer, reference: Callable[[str], Reference], interrupted: Callable[[Path], Path], tmp_path: Path
) -> None:
    folder, note = interrupted(tmp_path), tmp_path / "note.txt"
    (folder / "checkpoints" / "step_00000018" / "complete.json").unlink()
    where = {"place": "checkpoint", "call": 1, "line": 0, "numbers": [signal.SIGSTOP], "note": str(note)}
    first = jobs.start(tmp_path, f"resume={folder}", fault=("signal_at_line", where))
    deadline = time.monotonic() + PATIENCE
    while not note.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        status = json.loads((folder / "status.json").read_text())
        assert (status["state"], status["process"]["pid"]) == ("running", first.pid)
        for settings in ((f"resume={folder}",), reference("default").settings):
            second = Done.of(start_command(tmp_path, *settings))
            assert second.code == 2
            assert len(second.output.splitlines()) == 1
            assert str(first.pid) in second.output
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert first.wait() == 0, first.output.read_text()
    assert_same_end(folder, reference("default").folder)
