from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from camoe.tracking.process_identity import ProcessIdentity


def test_this_process_is_alive_and_another_host_is_not_judged() -> None:
    here = ProcessIdentity.current()
    assert not here.is_dead
    assert not replace(here, host="elsewhere", pid=2**22).is_dead


def test_a_recycled_process_id_counts_as_dead() -> None:
    here = ProcessIdentity.current()
    assert replace(here, started=here.started - 60).is_dead


def test_a_killed_process_is_dead_even_before_it_is_reaped() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    identity = replace(ProcessIdentity.current(), pid=child.pid, started=psutil.Process(child.pid).create_time())
    assert not identity.is_dead
    child.kill()
    psutil.wait_procs([psutil.Process(child.pid)], timeout=0)
    while psutil.pid_exists(child.pid) and psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert identity.is_dead
    child.wait()
    assert identity.is_dead


def test_on_another_host_a_job_that_slurm_started_again_has_ended_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    before = replace(ProcessIdentity.current(), host="elsewhere")
    assert before.slurm_job == "7_3"
    assert not before.is_dead
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert before.is_dead
    assert not replace(before, slurm_job="7_4").is_dead
