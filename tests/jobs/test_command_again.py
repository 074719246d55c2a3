"""The same command a second time: finished is skipped, interrupted goes on, failed and running are refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.jobs.command import SMALL, command, records, run, run_folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    cwd = tmp_path_factory.mktemp("finished")
    assert run(cwd, *SMALL, f"data.path={text}").returncode == 0
    return cwd


def _state(folder: Path, state: str) -> None:
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**status, "state": state, "reason": "ValueError: odd"}))


def test_finished_is_skipped_quickly_and_untouched(finished: Path, text: Path) -> None:
    folder = run_folder(finished)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "lock"}
    result = run(finished, *SMALL, f"data.path={text}", "name=other")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"finished already: {folder.relative_to(finished.resolve())} (force=true runs it again)\n"
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_failed_needs_retry(finished: Path, text: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "outputs", tmp_path / "outputs")
    folder = run_folder(tmp_path)
    _state(folder, "failed")
    result = run(tmp_path, *SMALL, f"data.path={text}")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "failed before" in result.stderr
    assert "ValueError: odd; retry=failed goes on" in result.stderr
    result = run(tmp_path, *SMALL, f"data.path={text}", "retry=failed")
    assert result.returncode == 0, result.stderr
    assert "going on after step" in result.stdout
    assert run_folder(tmp_path) == folder
    assert records(folder) == records(run_folder(finished))


@pytest.mark.slow
def test_running_is_refused_and_killed_goes_on(finished: Path, text: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(command(*SMALL, f"data.path={text}"), cwd=tmp_path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while not any(tmp_path.glob("outputs/2*/*/checkpoints/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(19)  # SIGSTOP: it stays alive, and stays where it is
    result = run(tmp_path, *SMALL, f"data.path={text}")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "running already" in result.stderr
    assert str(process.pid) in result.stderr
    process.kill()
    process.wait(60)
    folder = run_folder(tmp_path)
    result = run(tmp_path, *SMALL, f"data.path={text}")
    assert result.returncode == 0, result.stderr
    assert f"going on with {folder.relative_to(tmp_path.resolve())}" in result.stdout
    assert run_folder(tmp_path) == folder
    assert records(folder) == records(run_folder(finished))


@pytest.mark.slow
def test_changed_text_and_force_begin_anew(finished: Path, text: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "outputs", tmp_path / "outputs")
    other = tmp_path / text.name
    other.write_text(text.read_text()[:-5000])
    quick = [*SMALL, "job.sample_tokens=1"]
    assert run(tmp_path, *quick, f"data.path={other}").returncode == 0
    assert len(list(tmp_path.glob("outputs/2*/*/config.yaml"))) == 2
    assert run(tmp_path, *quick, f"data.path={text}", "force=true").returncode == 0
    assert len(list(tmp_path.glob("outputs/2*/*/config.yaml"))) == 3
