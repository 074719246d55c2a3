"""Which of several processes this one is, as torchrun or srun says in the environment."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

FIRST_PORT, PORTS = 20_000, 12_000  # below the range from which systems give out ports


@dataclass(frozen=True)
class Launch:
    """Process `rank` of `count`, `local_rank` of those on its host; they meet at the first one's `address`."""

    rank: int
    count: int
    local_rank: int
    host: str
    port: int
    by: str
    """What started them."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Launch | None:
        """None for a process that was started alone.

        torchrun's variables come first: whoever calls it inside a SLURM job means it. Of SLURM's those of a job step
        count: a batch script has some of the others, and is one process.
        """
        if "RANK" in environment and "WORLD_SIZE" in environment:
            found = _by_torchrun(environment)
        elif "SLURM_STEP_NUM_TASKS" in environment and "SLURM_PROCID" in environment:
            found = _by_srun(environment)
        else:
            return None
        return found if found.count > 1 else None


def _by_torchrun(environment: Mapping[str, str]) -> Launch:
    return Launch(
        rank=int(environment["RANK"]),
        count=int(environment["WORLD_SIZE"]),
        local_rank=int(environment.get("LOCAL_RANK", environment["RANK"])),
        host=environment.get("MASTER_ADDR", "127.0.0.1"),
        port=int(environment.get("MASTER_PORT", FIRST_PORT)),
        by="torchrun",
    )


def _by_srun(environment: Mapping[str, str]) -> Launch:
    """srun names no port; one that follows from the job's number is the same for all, and seldom another job's."""
    step = f"{environment.get('SLURM_JOB_ID')}.{environment.get('SLURM_STEP_ID')}"
    return Launch(
        rank=int(environment["SLURM_PROCID"]),
        count=int(environment["SLURM_STEP_NUM_TASKS"]),
        local_rank=int(environment["SLURM_LOCALID"]),
        host=environment.get("MASTER_ADDR") or _first_host(environment),
        port=int(environment.get("MASTER_PORT", FIRST_PORT + zlib.crc32(step.encode()) % PORTS)),
        by="srun",
    )


def _first_host(environment: Mapping[str, str]) -> str:
    if environment.get("SLURM_STEP_NUM_NODES", "1") == "1":
        return "127.0.0.1"
    from submitit.slurm.slurm import SlurmJobEnvironment  # slow to import

    return SlurmJobEnvironment().hostnames[0]
