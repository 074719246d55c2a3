"""What an earlier run of the same settings and text means for a new one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from camoe.config import RunConfig
from camoe.config.kernel import KernelConfig
from camoe.config.phase import PhaseConfig, PhaseScheduleConfig
from camoe.config.signature import signature
from camoe.sweeping import slurm_queue
from camoe.sweeping.earlier_run import earlier_run
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_status import State

NOW = datetime(2026, 1, 2, 10)
TEXT = "text-hash"


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    phases = PhaseScheduleConfig(schedule={"only": PhaseConfig(steps=3)})
    return RunConfig(output_dir=str(tmp_path), phase=phases)


def made(config: RunConfig, state: State, *, hours: int = 0, text: str = TEXT, signed: str = "") -> RunFolder:
    """A run folder that ended in `state`."""
    folder = RunFolder.create(
        config.output_dir,
        "run",
        signed or signature(config),
        config=asdict(config),
        provenance={"data": text},
        now=NOW + timedelta(hours=hours),
    )
    folder.set_status(state, "ValueError: odd" if state == "failed" else "")
    if state != "running":
        folder.unlock()
    return folder


def text_is(fingerprint: str | None) -> Callable[[RunConfig], str | None]:
    return lambda _: fingerprint


def test_initial_weights_of_the_same_name_are_told_apart(config: RunConfig, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"first")
    config = replace(config, train=replace(config.train, init_from=str(file)))
    folder = made(config, "finished")
    for content, same in ((b"first", True), (b"other", False)):
        file.write_bytes(content)
        facts = folder.provenance() | {"init_from": {"sha256": hashlib.sha256(b"first").hexdigest()}}
        folder.provenance_file.write_text(json.dumps(facts))
        assert (found(config) is not None) == same


def found(config: RunConfig, issued: datetime = NOW, text: str | None = TEXT) -> tuple[Path, str, str] | None:
    run = earlier_run(config, issued, text_is(text))
    return None if run is None else (run.folder.path, run.verdict(config.retry), run.line())


def test_the_text_is_not_asked_for_where_there_is_no_run(config: RunConfig) -> None:
    def unasked(_: RunConfig) -> str:
        raise AssertionError

    assert earlier_run(config, NOW, unasked) is None


@pytest.mark.parametrize(
    ("state", "retry", "verdict", "said"),
    [
        ("finished", "none", "skip", "force=true runs it again"),
        ("killed", "none", "go on", "going on with"),
        ("failed", "none", "refuse", "ValueError: odd; retry=failed goes on with it"),
        ("failed", "failed", "go on", "retry=failed"),
        ("running", "none", "refuse", "running already"),
        ("running", "failed", "refuse", "running already"),
    ],
)
def test_what_each_state_means(config: RunConfig, state: State, retry: str, verdict: str, said: str) -> None:
    folder = made(config, state)
    path, decided, line = found(replace(config, retry=retry)) or (None, "", "")
    assert (path, decided) == (folder.path, verdict)
    assert said in line
    assert folder.path.name in line


def test_finished_comes_before_newer(config: RunConfig) -> None:
    finished = made(config, "finished")
    made(config, "killed", hours=1)
    assert (found(config) or [None])[0] == finished.path


def test_else_the_newest(config: RunConfig) -> None:
    made(config, "killed")
    newest = made(config, "failed", hours=1)
    assert (found(config) or [None])[0] == newest.path


def test_force_knows_only_runs_of_its_own_command(config: RunConfig) -> None:
    made(config, "finished")
    forced = replace(config, force=True)
    assert found(forced, issued=NOW + timedelta(hours=1)) is None
    own = made(config, "killed", hours=2)
    assert (found(forced, issued=NOW + timedelta(hours=1)) or [None])[0] == own.path


def test_the_name_alone_is_not_trusted(config: RunConfig) -> None:
    other = replace(config, kernel=KernelConfig(chunk_len=8))
    made(other, "finished", signed=signature(config))
    assert found(config) is None


def test_other_text_is_another_run(config: RunConfig) -> None:
    made(config, "finished", text="other")
    assert found(config) is None
    assert found(config, text=None) is None
    folder = made(config, "killed", hours=1)
    assert (found(config) or [None])[0] == folder.path


def test_folders_cut_short_are_passed_over(config: RunConfig) -> None:
    folder = made(config, "killed")
    (folder.path / "provenance.json").unlink()
    broken = made(config, "killed", hours=1)
    broken.config_file.write_text("model: [")
    assert found(config) is None


@pytest.mark.parametrize(
    ("queue", "verdict"),
    [({"7_1": "RUNNING"}, "refuse"), ({"7_1": "TIMEOUT"}, "go on"), ({}, "go on"), (None, "refuse")],
)
def test_a_run_of_another_host_is_as_slurm_says(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, queue: dict[str, str] | None, verdict: str
) -> None:
    monkeypatch.setattr(slurm_queue, "states", lambda _: queue)
    folder = made(config, "running")
    content = json.loads((folder.path / "status.json").read_text())
    content["process"] |= {"host": "node7", "slurm_job": "7_1"}
    (folder.path / "status.json").write_text(json.dumps(content))
    assert (found(config) or ("", ""))[1] == verdict
