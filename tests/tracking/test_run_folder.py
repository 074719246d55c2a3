from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from camoe.config import ConfigError
from camoe.tracking import run_folder, run_lock
from camoe.tracking.run_folder import RunFolder

HOLDER = """
import sys, time
from camoe.tracking.run_folder import RunFolder
folder = RunFolder.open(sys.argv[1])
folder.lock()
folder.set_status("running")
print("locked", flush=True)
time.sleep(60)
"""


def hold_in_another_process(folder: RunFolder) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder.path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_create_lays_out_everything(tmp_path: Path) -> None:
    folder = RunFolder.create(
        tmp_path,
        "my run/2",
        "3fa21bc9",
        config={"model": {"n_embd": 8}, "data": {"path": None}},
        overrides=["model.n_embd=8"],
        provenance={"git_diff": "- old\n+ new\n", "git_commit": "abc"},
        now=datetime(2026, 5, 14, 9, 31, 12),
    )
    assert folder.path == tmp_path / "2026-05-14" / "09-31-12-my_run_2-3fa21bc9"
    assert folder.config() == {"model": {"n_embd": 8}, "data": {"path": None}}
    assert (folder.path / "overrides.yaml").read_text() == "- model.n_embd=8\n"
    assert folder.provenance() == {"signature": "3fa21bc9", "git_commit": "abc"}
    assert (folder.path / "uncommitted.diff").read_text() == "- old\n+ new\n"
    assert folder.checkpoints.is_dir()
    assert folder.samples.is_dir()
    assert folder.status().state == "running"
    folder.unlock()


def test_runs_of_the_same_second_get_their_own_folders(tmp_path: Path) -> None:
    now = datetime(2026, 5, 14, 9, 31, 12)
    made = [RunFolder.create(tmp_path, "a", "b", config={}, now=now) for _ in range(3)]
    assert [folder.path.name for folder in made] == ["09-31-12-a-b", "09-31-12-a-b-2", "09-31-12-a-b-3"]
    for folder in made:
        folder.unlock()


def test_open_says_what_is_missing(tmp_path: Path, folder: RunFolder) -> None:
    assert RunFolder.open(folder.path) == folder
    with pytest.raises(ConfigError, match=r"nowhere: no such run folder$"):
        RunFolder.open(tmp_path / "nowhere")
    (folder.path / "config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"not a run folder, it has no config\.yaml$"):
        RunFolder.open(folder.path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no config\.yaml and no provenance\.json"):
        RunFolder.open(tmp_path / "empty")


def test_a_second_process_is_refused_in_one_line_that_names_the_first(folder: RunFolder) -> None:
    folder.unlock()
    other = hold_in_another_process(folder)
    try:
        with pytest.raises(ConfigError) as refusal:
            folder.lock()
        assert f"in use by process {other.pid} on {socket.gethostname()}" in str(refusal.value)
        assert "\n" not in str(refusal.value)
        assert folder.status().state == "running"
    finally:
        other.kill()
        other.wait()


def test_kill_9_frees_the_folder_and_the_status_tells(folder: RunFolder) -> None:
    folder.unlock()
    other = hold_in_another_process(folder)
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    status = folder.status()
    assert (status.state, status.reason) == ("killed", f"process {other.pid} on {socket.gethostname()} vanished")
    folder.lock()
    folder.set_status("running")
    assert folder.status().state == "running"


def test_the_same_process_cannot_take_a_folder_twice(folder: RunFolder) -> None:
    with pytest.raises(ConfigError, match="in use by this process"):
        folder.lock()
    assert run_lock.is_held(folder.path / "lock")
    folder.unlock()
    assert not run_lock.is_held(folder.path / "lock")
    folder.lock()


def test_flushing_keeps_the_lock_and_passes_over_what_is_renamed_meanwhile(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename_first(path: Path) -> None:
        if path.name == ".mlflow.json.1":
            path.rename(folder.path / "mlflow.json")
        flushed.append(path.name)
        flush(path)

    flushed: list[str] = []
    flush = run_folder.flush_to_disk
    monkeypatch.setattr(run_folder, "flush_to_disk", rename_first)
    (folder.path / ".mlflow.json.1").write_text("{}")
    folder.flush()
    assert {"config.yaml", "provenance.json", "status.json", ".mlflow.json.1"} <= set(flushed)
    refused = subprocess.run(
        [sys.executable, "-c", HOLDER, str(folder.path)], capture_output=True, text=True, check=False
    )
    assert "in use by" in refused.stderr


def test_status_is_replaced_in_one_move(folder: RunFolder) -> None:
    folder.set_status("failed", "RuntimeError: no", mlflow_missing=7)
    status = folder.status()
    assert (status.state, status.reason, status.mlflow_missing) == ("failed", "RuntimeError: no", 7)
    assert json.loads((folder.path / "status.json").read_text())["process"]["pid"] == os.getpid()
    assert [path.name for path in folder.path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("content", ["a: [1\n", "- 1\n", "3\n", "a: 1\na: 2\n", "a: ${\n", b"\xff\xfe\xfa"])
def test_a_broken_configuration_is_refused_in_one_line(folder: RunFolder, content: str | bytes) -> None:
    folder.config_file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as refusal:
        folder.config()
    assert str(refusal.value).startswith(f"{folder.path}/config.yaml: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", ['{"data": ', "[1]", "null", ""])
def test_a_broken_provenance_is_refused_in_one_line(folder: RunFolder, content: str) -> None:
    folder.provenance_file.write_text(content)
    for read in (folder.provenance, lambda: folder.fact("data")):
        with pytest.raises(ConfigError, match=r"^/.*provenance\.json: [^\n]+$"):
            read()


def test_a_fact_that_the_provenance_lacks_is_named(folder: RunFolder) -> None:
    assert folder.fact("signature") == "0123abcd"
    with pytest.raises(ConfigError, match=r"provenance\.json: has no 'initial_weights'"):
        folder.fact("initial_weights")


@pytest.mark.parametrize("content", ["{", "{}", '{"state": "running", "process": null}', "[]"])
def test_a_broken_status_is_refused_in_one_line(folder: RunFolder, content: str) -> None:
    (folder.path / "status.json").write_text(content)
    with pytest.raises(ConfigError, match=r"^/.*status\.json: [^\n]+$"):
        folder.status()


def test_a_run_that_another_process_has_taken_over_is_not_called_killed(folder: RunFolder) -> None:
    """Between its lock and its first status, the second process finds the word of the first, which is dead."""
    folder.unlock()
    first = hold_in_another_process(folder)
    first.kill()
    first.wait()
    left_behind = (folder.path / "status.json").read_text()
    second = hold_in_another_process(folder)
    try:
        (folder.path / "status.json").write_text(left_behind)
        status = folder.status()
        assert (status.state, status.reason, status.process.pid) == ("running", "", first.pid)
    finally:
        second.kill()
        second.wait()


def test_what_a_killed_process_had_begun_to_write_goes_away_with_the_next(folder: RunFolder) -> None:
    folder.unlock()
    dead = folder.path / ".status.json.4194305"  # beyond the largest process id
    living = folder.path / f".evaluation.json.{os.getpid()}"
    for path in (dead, living, folder.path / ".notes"):
        path.write_text("half")
    folder.lock()
    assert [path.exists() for path in (dead, living, folder.path / ".notes")] == [False, True, True]
