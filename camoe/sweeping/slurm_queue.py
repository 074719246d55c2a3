"""What SLURM says of jobs. Asks its queue, which every SLURM has, and not its accounting, which many have not."""

from __future__ import annotations

import subprocess

SECONDS = 60
UNFINISHED = (
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "COMPLETING",
    "SUSPENDED",
    "STOPPED",
    "SIGNALING",
    "STAGE_OUT",
    "RESIZING",
    "PREEMPTED",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "SPECIAL_EXIT",
    "RESV_DEL_HOLD",
)


def states(job_id: str) -> dict[str, str] | None:
    """State of a job, or of every element of a job array, by its id ("12" or "12_0"); None when SLURM does not answer.

    Jobs that ended minutes ago are forgotten and no longer there.
    """
    command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={job_id}", "--format=%i|%T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and "Invalid job id" not in done.stderr:
        return None
    return dict(line.strip().split("|") for line in done.stdout.splitlines() if "|" in line)


def is_over(state: str | None) -> bool:
    """Whether a state, None for a job that SLURM has forgotten, is one that a job does not leave again."""
    return state not in UNFINISHED
