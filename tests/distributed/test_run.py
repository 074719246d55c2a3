"""Runs of two processes through the real command line: one folder, one story, whoever stops, fails or dies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.distributed.processes import ROOT, finished, srun_variables, start, torchrun_variables
from tests.jobs.command import SMALL, TOTAL_STEPS, records, run, run_folder

RUN = str(ROOT / "run.py")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    """The folder of the same run made by one process."""
    cwd = tmp_path_factory.mktemp("alone")
    result = run(cwd, *SMALL, f"data.path={text}", timeout=300)
    assert result.returncode == 0, result.stderr
    return run_folder(cwd)


def _status(folder: Path) -> dict[str, str]:
    return json.loads((folder / "status.json").read_text())


def _same(folder: Path, other: Path) -> None:
    assert records(folder) == records(other)
    assert (folder / "ledger.jsonl").read_bytes() == (other / "ledger.jsonl").read_bytes() != b""
    assert _status(folder)["state"] == _status(other)["state"] == "finished"


def _after_records(cwd: Path, processes: list[subprocess.Popen[str]], count: int) -> Path:
    """The run's folder, once it has that many records."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and all(process.poll() is None for process in processes):
        for metrics in cwd.glob("outputs/2*/*/metrics.jsonl"):
            if metrics.read_bytes().count(b"\n") >= count:
                return metrics.parent
        time.sleep(0.01)
    raise AssertionError([process.communicate() for process in processes if process.poll() is not None])


def test_torchrun_as_typed_gives_the_records_of_one_process(alone: Path, text: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    typed = [*torchrun, RUN, *SMALL, f"data.path={text}"]
    result = subprocess.run(typed, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    _same(run_folder(tmp_path), alone)
    assert result.stdout.count(f"step {TOTAL_STEPS}/{TOTAL_STEPS}") == 1, "only the first process talks"
    assert "each takes 1 x 2 sequences" in " ".join(result.stdout.split())


def test_a_signal_to_one_process_stops_all_and_one_process_goes_on(alone: Path, text: Path, tmp_path: Path) -> None:
    processes = start(srun_variables(2), [RUN, *SMALL, f"data.path={text}"], tmp_path)
    folder = _after_records(tmp_path, processes, 2)
    processes[1].send_signal(signal.SIGUSR2)
    assert [code for code, _ in finished(processes, timeout=100)] == [128 + signal.SIGUSR2] * 2
    assert (_status(folder)["state"], _status(folder)["reason"]) == ("killed", "SIGUSR2")
    assert records(folder)[-1]["step"] < TOTAL_STEPS
    result = run(tmp_path, f"resume={folder}", timeout=300)
    assert result.returncode == 0, result.stderr
    _same(folder, alone)


def test_two_processes_go_on_with_what_one_began(alone: Path, text: Path, tmp_path: Path) -> None:
    arguments = [RUN, *SMALL, f"data.path={text}"]
    one = start([{}], arguments, tmp_path)
    folder = _after_records(tmp_path, one, 2)
    one[0].kill()
    finished(one, timeout=60)
    codes = finished(start(torchrun_variables(2), arguments, tmp_path), timeout=300)  # found again by its settings
    assert [code for code, _ in codes] == [0, 0], codes
    assert run_folder(tmp_path) == folder
    _same(folder, alone)


def test_divided_weights_are_saved_in_parts_that_any_process_reads(alone: Path, text: Path, tmp_path: Path) -> None:
    parallel = ["parallel.weights=shard", "parallel.experts=2"]
    processes = start(torchrun_variables(2), [RUN, *SMALL, f"data.path={text}", *parallel], tmp_path)
    folder = _after_records(tmp_path, processes, 2)
    processes[1].send_signal(signal.SIGTERM)
    assert [code for code, _ in finished(processes, timeout=100)] == [128 + signal.SIGTERM] * 2
    (*_, newest) = sorted(folder.glob("checkpoints/step_*"))
    assert len(list(newest.glob("parts/*"))) == 2
    for job in (["job=checkpoint"], ["job=generate", "job.sample_tokens=4"], ["job=export"]):
        result = run(tmp_path, *job, f"job.run={folder}", timeout=200)
        assert result.returncode == 0, result.stderr
    result = run(tmp_path, f"resume={folder}", "parallel.weights=replicate", timeout=300)
    assert result.returncode == 0, result.stderr
    assert [record["step"] for record in records(folder)] == [record["step"] for record in records(alone)]
    assert records(folder)[-1]["final/bpb"] == pytest.approx(records(alone)[-1]["final/bpb"], rel=1e-4)


@pytest.mark.parametrize("weights", ["replicate", "shard"])
def test_a_process_that_is_killed_fails_the_run_at_once(text: Path, tmp_path: Path, weights: str) -> None:
    processes = start(
        torchrun_variables(2), [RUN, *SMALL, f"data.path={text}", f"parallel.weights={weights}"], tmp_path
    )
    folder = _after_records(tmp_path, processes, 2)
    processes[1].kill()
    killed = time.monotonic()
    code, errors = finished(processes[:1], timeout=60)[0]
    assert code == 1
    assert time.monotonic() - killed < 30, "most of it is the loaded machine's"
    assert _status(folder)["state"] == "failed"
    assert "another process of this run vanished" in _status(folder)["reason"]
    assert "vanished" in errors
    processes[1].wait(10)


def test_the_error_of_any_process_is_that_of_the_run(text: Path, tmp_path: Path) -> None:
    arguments = ["-m", "tests.distributed.failing_run", *SMALL, f"data.path={text}"]
    (first, _), (second, errors) = finished(start(torchrun_variables(2), arguments, tmp_path), timeout=200)
    assert (first, second) == (1, 1)
    assert "ZeroDivisionError: of rank 1 alone" in errors
    status = _status(run_folder(tmp_path))
    assert (status["state"], status["reason"]) == ("failed", "PeerLost: rank 1: ZeroDivisionError: of rank 1 alone")


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["train.micro_batch=3", "train.grad_accum=1"],
            "3 x 1 (train.grad_accum) = 3 sequences per step cannot be shared equally by 2 processes",
        ),
        (["parallel.experts=4"], "parallel.experts: 2 processes make no groups of 4"),
    ],
)
def test_what_cannot_be_shared_is_refused_in_one_line(
    text: Path, tmp_path: Path, overrides: list[str], line: str
) -> None:
    arguments = [RUN, *SMALL, f"data.path={text}", *overrides]
    for code, errors in finished(start(torchrun_variables(2), arguments, tmp_path), timeout=100):
        assert (code, errors.count("\n")) == (2, 1), errors
        assert line in errors
    assert list(tmp_path.glob("outputs/2*")) == []


def test_what_the_first_refuses_the_others_refuse(tmp_path: Path) -> None:
    """Only the first reads the text before it is in the cache."""
    short = tmp_path / "short.txt"
    short.write_text("Too short to train on.")
    arguments = [RUN, *SMALL, f"data.path={short}"]
    (code, line), other = finished(start(torchrun_variables(2), arguments, tmp_path), timeout=100)
    assert (code, line.count("\n")) == (2, 1), line
    assert "data." in line
    assert other == (code, line)
