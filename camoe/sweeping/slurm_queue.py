"""What SLURM says of jobs. Asks its queue, which every SLURM has, and not its accounting, which many have not."""

from __future__ import annotations

import subprocess

SECONDS = 60
WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")
GOING_ON = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING", "PREEMPTED")
FORGOTTEN = "FORGOTTEN"  # our word for a job that ended minutes ago


def states(job_id: str) -> dict[str, str] | None:
    """State of a job, or of every element of a job array, by its id ("12" or "12_0"); None when SLURM does not answer.

    Jobs that ended minutes ago are no longer there.
    """
    command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={job_id}", "--format=%i|%T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and "Invalid job id" not in done.stderr:
        return None
    return dict(line.strip().split("|") for line in done.stdout.splitlines() if "|" in line)


class SlurmQueue:
    """One look at the queue: SLURM is asked once for each job array, when the first of its jobs is."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, str] | None] = {}

    def state(self, job_id: str) -> str | None:
        """SLURM's word, or FORGOTTEN; None when SLURM does not answer."""
        array = job_id.partition("_")[0]
        if array not in self._seen:
            self._seen[array] = states(array)
        found = self._seen[array]
        return None if found is None else found.get(job_id, FORGOTTEN)

    def is_over(self, job_id: str) -> bool:
        """Whether the job has ended for good."""
        return self.state(job_id) not in (None, *WAITING, *GOING_ON)

    def is_known(self, job_id: str) -> bool:
        """Whether SLURM has the job and will run it or runs it."""
        return self.state(job_id) in (*WAITING, *GOING_ON)

    def is_waiting(self, job_id: str) -> bool:
        """Whether the job has yet to start, for the first time or again."""
        return self.state(job_id) in WAITING
