"""Runs of a sweep as one SLURM job array, by submitit."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camoe.config import ConfigError
from camoe.config.slurm import WHERE, SlurmConfig
from camoe.sweeping.arm_task import ArmEnd, ArmTask
from camoe.sweeping.code_snapshot import take_snapshot
from camoe.sweeping.requeue import python_with_signals_blocked

if TYPE_CHECKING:
    from submitit import Job, SlurmExecutor

COMMANDS = ("sbatch", "srun", "squeue", "scontrol")


def require_slurm() -> None:
    """ConfigError where SLURM's commands are not installed."""
    missing = [command for command in COMMANDS if shutil.which(command) is None]
    if missing:
        raise ConfigError(
            f"hydra/launcher=slurm: no {', '.join(missing)} on this machine; run it where SLURM's commands are, or "
            "choose hydra/launcher=local"
        )


def require_acceptance(settings: SlurmConfig) -> None:
    """ConfigError for resources that SLURM would refuse. It only looks; nothing is queued."""
    script = _executor(Path.cwd(), "test", Path.cwd(), settings)._make_submission_file_text("true", uid="")
    done = subprocess.run(["sbatch", "--test-only"], input=script, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in done.stderr.splitlines()]
        raise ConfigError(f"{WHERE}: sbatch refuses it: {'; '.join(dict.fromkeys(lines))}")


def submit(folder: Path, name: str, tasks: Sequence[ArmTask], settings: SlurmConfig) -> list[Job[ArmEnd]]:
    """Queue every task, with the code as it is now. ConfigError, with nothing queued, for what sbatch refuses."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    from camoe.sweeping.slurm_task import SlurmTask

    executor = _executor(folder / "jobs", name, take_snapshot(folder / "code"), settings)
    try:
        with executor.batch():
            return [executor.submit(SlurmTask(task, settings.max_requeues)) for task in tasks]
    except (FailedJobError, FailedSubmissionError) as refusal:
        raise ConfigError(f"{WHERE}: {' '.join(str(refusal).split())}") from refusal


def _executor(folder: Path, name: str, code: Path, settings: SlurmConfig) -> SlurmExecutor:
    from submitit import SlurmExecutor

    executor = SlurmExecutor(folder, settings.max_requeues, python=python_with_signals_blocked())
    executor.update_parameters(**sbatch_parameters(name, code, settings))
    return executor


def sbatch_parameters(name: str, code: Path, settings: SlurmConfig) -> dict[str, Any]:
    """The settings in submitit's words."""
    cpus, mem = settings.cpus_per_task, settings.mem_gb
    wanted = {
        "job_name": name,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "nodes": settings.nodes,
        "ntasks_per_node": settings.tasks_per_node,
        "gpus_per_node": settings.gpus or None,
        "cpus_per_task": cpus,
        "mem": None if mem is None else f"{int(mem * 1024)}M",
        "time": settings.timeout_min,
        "signal_delay_s": settings.signal_delay_s,
        "array_parallelism": settings.array_parallelism,
        "stderr_to_stdout": True,
        "setup": [*settings.setup, *_environment(code, settings)],
        "srun_args": ["--kill-on-bad-exit=1", *([f"--cpus-per-task={cpus}"] if cpus else [])],
        "additional_parameters": dict(settings.sbatch),
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _environment(code: Path, settings: SlurmConfig) -> list[str]:
    lines = [f"export PYTHONPATH={shlex.quote(str(code))}${{PYTHONPATH:+:$PYTHONPATH}}"]
    if settings.cpus_per_task:
        lines.append(f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{settings.cpus_per_task}}}")
    return lines
