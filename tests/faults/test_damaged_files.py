"""Files that are damaged, lost or of another run: the newest checkpoint that fits counts, and the end is the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from camoe.training.checkpoint import MARKER
from tests.faults.compositions import KEEP_ALL
from tests.faults.evidence import assert_same_end
from tests.faults.jobs import JobServer
from tests.faults.reference import Reference
from tests.jobs.command import run_folder

pytestmark = pytest.mark.slow


def _flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _damage_all_but_the_first(folder: Path, jobs: JobServer, settings: tuple[str, ...], cwd: Path) -> dict[str, str]:
    """One kind each, the newest first; what is to be said of them."""
    checkpoints = folder / "checkpoints"
    shutil.rmtree(checkpoints / "step_00000018")
    _flip_a_bit(checkpoints / "step_00000015" / "model.safetensors")
    _cut(checkpoints / "step_00000012" / "optimizer.safetensors")
    (checkpoints / "step_00000009" / "values.json").unlink()
    (cwd / "other").mkdir()
    done = jobs.run(cwd / "other", *settings, KEEP_ALL, "model.n_layer=1")
    assert done.code == 0, done.output
    shutil.rmtree(checkpoints / "step_00000006")
    shutil.copytree(run_folder(cwd / "other") / "checkpoints" / "step_00000006", checkpoints / "step_00000006")
    return {
        "step_00000015": "model.safetensors is damaged",
        "step_00000012": "optimizer.safetensors is damaged",
        "step_00000009": "values.json is missing",
        "step_00000006": "belongs to a run of another configuration",
    }


def test_the_newest_that_fits_counts_and_where_none_does_a_line_says_so(
    jobs: JobServer, reference: Callable[[str], Reference], interrupted: Callable[[Path], Path], tmp_path: Path
) -> None:
    expected, folder = reference("default"), interrupted(tmp_path)
    checkpoints = folder / "checkpoints"
    said = _damage_all_but_the_first(folder, jobs, expected.settings, tmp_path)
    shutil.copytree(checkpoints / "step_00000003", checkpoints / "step_00000003.kept")  # a person's own copy
    (checkpoints / "step_00000003" / MARKER).rename(tmp_path / MARKER)
    done = jobs.run(tmp_path, f"resume={folder}")
    assert (done.code, "Traceback" in done.output) == (2, False)
    lines = done.output.splitlines()
    assert lines[-1].startswith("resume: no checkpoint to go on from: step_00000015: model.safetensors is damaged; ")

    (tmp_path / MARKER).rename(checkpoints / "step_00000003" / MARKER)
    done = jobs.run(tmp_path, f"resume={folder}")
    assert done.code == 0, done.output
    for name, problem in said.items():
        assert f"warning: checkpoint passed over: {name}: {problem}" in done.output.splitlines()
    assert "going on after step 3" in done.output
    assert_same_end(folder, expected.folder)
    assert (checkpoints / "step_00000003.kept" / MARKER).is_file()


@pytest.mark.parametrize("name", ["metrics.jsonl", "ledger.jsonl"])
def test_records_that_were_lost_are_written_again(
    jobs: JobServer,
    reference: Callable[[str], Reference],
    interrupted: Callable[[Path], Path],
    tmp_path: Path,
    name: str,
) -> None:
    folder = interrupted(tmp_path)
    _cut(folder / name)
    done = jobs.run(tmp_path, f"resume={folder}")
    assert done.code == 0, done.output
    assert f"of {name}, which has" in done.output
    assert_same_end(folder, reference("default").folder)
