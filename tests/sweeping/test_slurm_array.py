"""What sbatch is told, and a machine that has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from camoe.config import ConfigError
from camoe.config.slurm import SlurmConfig
from camoe.sweeping.slurm_array import require_slurm, sbatch_parameters


def test_a_machine_without_slurm_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"no sbatch, srun, squeue, scontrol on this machine.*hydra/launcher=local"):
        require_slurm()


def test_what_is_not_set_is_left_to_the_cluster() -> None:
    told = sbatch_parameters("camoe-x", Path("/code"), SlurmConfig())
    unset = {"partition", "account", "qos", "constraint", "gpus_per_node", "cpus_per_task", "mem"}
    assert unset.isdisjoint(told)
    assert told["setup"] == ["export PYTHONPATH=/code${PYTHONPATH:+:$PYTHONPATH}"]


def test_resources_in_submitits_words() -> None:
    settings = SlurmConfig(
        partition="gpu", gpus=2, cpus_per_task=4, mem_gb=1.5, timeout_min=30, tasks_per_node=2, setup=["module load x"]
    )
    settings.sbatch["exclude"] = "node7"
    told = sbatch_parameters("camoe-x", Path("/a b"), settings)
    assert (told["partition"], told["gpus_per_node"], told["mem"], told["time"]) == ("gpu", 2, "1536M", 30)
    assert told["ntasks_per_node"] == 2
    assert told["additional_parameters"] == {"exclude": "node7"}
    assert "--cpus-per-task=4" in told["srun_args"]  # srun does not take it over from sbatch
    assert "--kill-on-bad-exit=1" in told["srun_args"]
    assert told["setup"] == [
        "module load x",
        "export PYTHONPATH='/a b'${PYTHONPATH:+:$PYTHONPATH}",
        "export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}",
    ]
