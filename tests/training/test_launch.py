"""Who a process is, by what its launcher says."""

import pytest

from camoe.training.launch import Launch

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "host0", "MASTER_PORT": "29400"}
STEP = {"SLURM_JOB_ID": "17", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}
SRUN = {**STEP, "SLURM_LOCALID": "1", "SLURM_STEP_NUM_NODES": "1", "SLURM_JOB_NODELIST": "gpu[07-08]"}


def test_a_process_by_itself_is_alone() -> None:
    assert Launch.of({}) is None
    assert Launch.of({**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1"}) is None


def test_a_batch_script_with_several_tasks_is_one_process() -> None:
    assert Launch.of({"SLURM_JOB_ID": "17", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}) is None


def test_torchrun_says_everything_and_is_believed_inside_slurm_too() -> None:
    for environment in (TORCHRUN, {**SRUN, **TORCHRUN}):
        assert Launch.of(environment) == Launch(3, 4, 1, "host0", 29400, "torchrun")


def test_processes_of_srun_meet_at_a_port_of_their_job_on_its_first_host(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (Launch.of({**SRUN, "SLURM_PROCID": rank}) for rank in "01")
    assert first is not None
    assert second is not None
    assert (second.rank, second.count, second.local_rank, second.by) == (1, 2, 1, "srun")
    assert first.host == second.host == "127.0.0.1"
    assert first.port == second.port
    other_job = Launch.of({**SRUN, "SLURM_JOB_ID": "18"})
    assert other_job is not None
    assert other_job.port != first.port
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    spread = Launch.of({**SRUN, "SLURM_STEP_NUM_NODES": "2"})
    assert spread is not None
    assert spread.host == "gpu07"
