"""What a job left behind, read without the job."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from camoe.sweeping import slurm_queue
from camoe.sweeping.arm_task import ArmEnd
from camoe.sweeping.job_log import JobLog
from camoe.sweeping.job_result import _read, exception_line, is_waiting, job_end
from camoe.sweeping.slurm_queue import FORGOTTEN, SlurmQueue
from camoe.tracking.process_identity import ProcessIdentity
from tests.pickles import pickled

DEAD = ProcessIdentity(ProcessIdentity.current().host, 1, started=0.0)
TRACE = """Traceback (most recent call last):
  File "a.py", line 1, in run
    fails(
    ^^^^^^
  File "b.py", line 2, in fails
    raise ValueError("odd")
ValueError: odd
  with a second line
and a third
"""


def result(folder: Path, job_id: str, content: object) -> None:
    (folder / "jobs").mkdir(exist_ok=True)
    (folder / "jobs" / f"{job_id}_0_result.pkl").write_bytes(pickle.dumps(content))


def test_the_exception_is_its_first_line() -> None:
    assert exception_line(TRACE) == "ValueError: odd"
    assert exception_line(f"{TRACE}\nDuring handling of the above exception:\n\n{TRACE}") == "ValueError: odd"
    assert exception_line("no traceback") == "no traceback"
    assert exception_line("") == ""


def test_ends(tmp_path: Path) -> None:
    log = JobLog(tmp_path)
    job = log.started("sig", "1", ProcessIdentity.current())
    assert job_end(tmp_path, job, SlurmQueue()) is None
    result(tmp_path, "1", ("success", ArmEnd("killed", "SIGTERM")))
    assert job_end(tmp_path, job, SlurmQueue()) == ArmEnd("killed", "SIGTERM")
    result(tmp_path, "1", ("error", TRACE))
    assert job_end(tmp_path, job, SlurmQueue()) == ArmEnd("failed", "ValueError: odd")


@pytest.mark.parametrize(
    ("exit_code", "state", "said"),
    [(-9, "killed", "SIGKILL (out of memory"), (-11, "killed", "SIGSEGV"), (7, "failed", "exit code 7")],
)
def test_a_process_that_left_no_result_is_noticed(tmp_path: Path, exit_code: int, state: str, said: str) -> None:
    log = JobLog(tmp_path)
    log.started("sig", "1", ProcessIdentity.current())
    log.ended("1", exit_code)
    end = job_end(tmp_path, log.newest()["sig"], SlurmQueue())
    assert end is not None
    assert end.state == state
    assert said in end.reason


def test_a_process_that_nobody_waited_for_is_noticed(tmp_path: Path) -> None:
    JobLog(tmp_path).started("sig", "1", DEAD)
    end = job_end(tmp_path, JobLog(tmp_path).newest()["sig"], SlurmQueue())
    assert end is not None
    assert "vanished" in end.reason


def test_the_newest_job_of_a_run_counts(tmp_path: Path) -> None:
    log = JobLog(tmp_path)
    assert log.newest() == {}
    log.started("sig", "1")
    log.ended("1", 1)
    newest = log.started("sig", "2")
    log.started("other", "3")
    assert log.newest()["sig"] == newest
    assert set(log.newest()) == {"sig", "other"}


@pytest.mark.parametrize(("word", "waits"), [("PENDING", True), ("RUNNING", False), ("COMPLETING", False)])
def test_a_job_of_slurm_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, waits: bool) -> None:
    monkeypatch.setattr(slurm_queue, "states", {"7": {"7_0": "FAILED", "7_3": word}}.get)
    job = JobLog(tmp_path).started("sig", "7_3")
    assert job_end(tmp_path, job, SlurmQueue()) is None
    assert is_waiting(job, SlurmQueue()) is waits


@pytest.mark.parametrize(
    ("found", "said"), [({"7_3": "OUT_OF_MEMORY"}, "OUT_OF_MEMORY"), ({}, FORGOTTEN), (None, None)]
)
def test_a_job_of_slurm_that_left_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: dict[str, str] | None, said: str | None
) -> None:
    monkeypatch.setattr(slurm_queue, "states", {"7": found}.get)
    end = job_end(tmp_path, JobLog(tmp_path).started("sig", "7_3"), SlurmQueue())
    if said is None:  # SLURM is silent, which tells nothing
        assert end is None
    else:
        assert end is not None
        assert end.state == "killed"
        assert f"no result, SLURM says {said}" in end.reason


def test_what_slurm_said_at_the_end_is_kept(tmp_path: Path) -> None:
    log = JobLog(tmp_path)
    log.started("sig", "7_3")
    log.ended("7_3", state="NODE_FAIL")
    end = job_end(tmp_path, log.newest()["sig"], SlurmQueue())
    assert end is not None
    assert "NODE_FAIL" in end.reason


def test_of_several_ranks_the_failed_one_counts(tmp_path: Path) -> None:
    job = JobLog(tmp_path).started("sig", "7_3")
    result(tmp_path, "7_3", ("success", ArmEnd("finished")))
    (tmp_path / "jobs" / "7_3_1_result.pkl").write_bytes(pickle.dumps(("error", TRACE)))
    assert job_end(tmp_path, job, SlurmQueue()) == ArmEnd("failed", "ValueError: odd")


def test_an_answer_is_not_executed(tmp_path: Path) -> None:
    answer = tmp_path / "1_0_result.pkl"
    answer.write_bytes(pickled(tmp_path / "executed"))
    assert _read(answer).state == "failed"
    assert not (tmp_path / "executed").exists()
