"""jobs.jsonl: which job of a launcher ran which run of a sweep, and how its process ended."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from camoe.tracking.process_identity import ProcessIdentity

FILE = "jobs.jsonl"
JOBS = "jobs"  # folder of the launcher's own files


@dataclass(frozen=True)
class Job:
    """One start of one run. `process` is known for jobs of this host, `exit_code` once it has ended there.

    Jobs without a process are SLURM's; `state` is its word for one that has ended.
    """

    signature: str
    job_id: str
    launched: float  # seconds since 1970
    process: ProcessIdentity | None = None
    exit_code: int | None = None
    state: str | None = None


class JobLog:
    """The file in a sweep's folder; lines are only ever appended."""

    def __init__(self, sweep_folder: Path) -> None:
        self.path = sweep_folder / FILE

    def started(self, signature: str, job_id: str, process: ProcessIdentity | None = None) -> Job:
        """Record a job that was given to the launcher."""
        job = Job(signature, job_id, time.time(), process)
        self._append({**asdict(job), "event": "started"})
        return job

    def ended(self, job_id: str, exit_code: int | None = None, state: str | None = None) -> None:
        """Record the end of a job: of its process, where a signal's number is negative, or what SLURM calls it."""
        self._append({"event": "ended", "job_id": job_id, "exit_code": exit_code, "state": state})

    def newest(self) -> dict[str, Job]:
        """The last job of each run, by the run's signature."""
        jobs: dict[str, Job] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else ():
            entry = json.loads(line)
            if entry.pop("event") == "started":
                process = ProcessIdentity(**entry.pop("process")) if entry["process"] else None
                jobs[entry["job_id"]] = Job(**{**entry, "process": process})
            else:
                jobs[entry["job_id"]] = replace(jobs[entry["job_id"]], **entry)
        return {job.signature: job for job in jobs.values()}

    def _append(self, entry: dict[str, object]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
