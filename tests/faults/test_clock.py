"""A clock that is set while a run goes on, backwards and then forwards: no number but those of the clock changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from camoe.tracking.metrics_log import read_metrics
from tests.faults.evidence import assert_same_end
from tests.faults.jobs import JobServer
from tests.faults.reference import Reference

pytestmark = pytest.mark.slow
DAY = 86400.0


def test_the_clock_is_set_back_and_the_next_process_finds_it_ahead(
    jobs: JobServer, reference: Callable[[str], Reference], tmp_path: Path
) -> None:
    expected = reference("default")
    back = ("clock_jump_at_line", {"place": "log flush", "call": 4, "line": 0, "seconds": -DAY})
    job = jobs.start(tmp_path, *expected.settings, "phase.schedule.normal.steps=9", fault=back)
    assert job.wait() == 0, job.output.read_text()
    (folder,) = tmp_path.glob("outputs/2*/*")
    times = [record["time/unix"] for record in read_metrics(folder / "metrics.jsonl")]
    assert min(times) < times[0] - DAY / 2, "the clock was not set"
    (folder / "status.json").unlink()  # as if it had vanished before its end
    ahead = ("clock_jump_at_line", {"place": "resume", "call": 1, "line": 0, "seconds": 10 * DAY})
    done = jobs.run(tmp_path, f"resume={folder}", fault=ahead)
    assert done.code == 0, done.output
    assert_same_end(folder, expected.folder)
