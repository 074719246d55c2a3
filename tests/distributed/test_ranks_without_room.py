"""A disk that becomes full under several processes: one line, nothing half written, and later the run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.small_disk import SmallDisk
from tests.distributed.processes import finished, start, torchrun_variables
from tests.jobs.command import SMALL, TOTAL_STEPS, records, run, run_folder

pytestmark = pytest.mark.slow


def test_ranks_that_cannot_write_their_parts_end_in_one_line(text: Path, disk: SmallDisk) -> None:
    arguments = ["-m", "tests.distributed.full_disk_run", *SMALL, f"data.path={text}", "parallel.weights=shard"]
    variables = [{**rank, "CAMOE_SMALL_DISK": str(disk.path)} for rank in torchrun_variables(2)]
    ended = finished(start(variables, arguments, disk.path), timeout=200)
    folder = run_folder(disk.path)
    for code, errors in ended:
        assert code == 2, errors
        assert "No space left on device; make room, then python run.py resume=" in errors.splitlines()[-1]
        assert "Traceback" not in errors
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step_00000004"]
    disk.free()
    result = run(disk.path, f"resume={folder}", "parallel.weights=replicate", timeout=300)
    assert result.returncode == 0, result.stderr
    assert records(folder)[-1]["step"] == TOTAL_STEPS
