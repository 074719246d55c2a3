"""What a job left behind, read without SLURM."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from submitit import SlurmJob

from camoe.sweeping import slurm_watch
from camoe.sweeping.arm_task import ArmEnd
from camoe.sweeping.slurm_watch import counts, end_of, raised, wait

TRACEBACK = """Traceback (most recent call last):
  File "a.py", line 1, in run
    fails()
    ~~~~~^^
  File "b.py", line 7, in fails
    raise ValueError("odd
ValueError: odd
and a second line
"""


def job(folder: Path, ranks: int = 1) -> SlurmJob[ArmEnd]:
    return SlurmJob(folder, "7_0", tasks=list(range(ranks)))


def leave(job: SlurmJob[ArmEnd], rank: int, outcome: str, value: object) -> None:
    job.task(rank).paths.result_pickle.write_bytes(pickle.dumps((outcome, value)))


def test_the_end_that_a_task_returned_and_the_error_it_raised(tmp_path: Path) -> None:
    whole = job(tmp_path, ranks=2)
    leave(whole, 0, "success", ArmEnd("finished"))
    leave(whole, 1, "success", ArmEnd("finished"))
    assert end_of(whole, "COMPLETED") == ArmEnd("finished")
    leave(whole, 1, "error", TRACEBACK)
    assert end_of(whole, "FAILED") == ArmEnd("failed", "ValueError: odd")


def test_a_job_without_a_result_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_watch, "RESULT_SECONDS", 0.0)
    for state, said in (("OUT_OF_MEMORY", "OUT_OF_MEMORY"), ("COMPLETED", "COMPLETED"), (None, "forgotten")):
        end = end_of(job(tmp_path), state)
        assert end.state == "killed"
        assert f"job 7_0 ended without a result ({said})" in end.reason
        assert "7_0_0_log.out" in end.reason


def test_counts_of_states_in_words() -> None:
    assert counts(["RUNNING", "PENDING", "RUNNING", "FAILED", None]) == "2 over, 1 pending, 2 running"


def test_waiting_ends_when_all_are_over_and_a_silent_slurm_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([{"7_0": "RUNNING"}, None, {"7_0": "RUNNING"}, {"7_0": "NODE_FAIL"}])
    monkeypatch.setattr(slurm_watch, "states", lambda _: next(answers))
    said: list[str] = []
    (end,) = wait([job(tmp_path)], 0.0, said.append)
    assert said == ["SLURM job 7: 1 running", "SLURM job 7: 1 over"]
    assert "NODE_FAIL" in end.reason


def test_the_first_line_of_an_error_is_the_one_below_its_frames() -> None:
    assert raised(TRACEBACK) == "ValueError: odd"
    assert raised("SystemError: bare") == "SystemError: bare"
