"""submitit's executor for this machine, with one process per job and nothing between that process and us.

submitit's own puts a controller before every job, which ends jobs after two minutes, kills them a second after
Ctrl-C, and gives every job the same GPUs. Pickles, results and logs are kept as submitit keeps them.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from submitit.core.utils import JobPaths
from submitit.local.local import LocalExecutor, LocalJob

ONE_TASK = {
    "SUBMITIT_EXECUTOR": "local",
    "SUBMITIT_LOCAL_NTASKS": "1",
    "SUBMITIT_LOCAL_JOB_NUM_NODES": "1",
    "SUBMITIT_LOCAL_NODEID": "0",
    "SUBMITIT_LOCAL_GLOBALID": "0",
    "SUBMITIT_LOCAL_LOCALID": "0",
}


class OneProcessExecutor(LocalExecutor):
    """Starts one job under an id of ours, with additions to the environment. Made anew for every job."""

    def __init__(self, folder: Path, job_id: str, environment: Mapping[str, str]) -> None:
        super().__init__(folder)
        self._job_id, self._environment = job_id, environment
        self.process: subprocess.Popen[bytes] | None = None

    def _submit_command(self, command: str) -> LocalJob[Any]:
        """In a session of its own: Ctrl-C on the terminal reaches the sweep, which tells its jobs."""
        paths = JobPaths(self.folder, self._job_id, task_id=0)
        with paths.stdout.open("ab") as out, paths.stderr.open("ab") as err:
            self.process = subprocess.Popen(
                shlex.split(command),
                env={**os.environ, **ONE_TASK, "SUBMITIT_LOCAL_JOB_ID": self._job_id, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return LocalJob(folder=self.folder, job_id=self._job_id, tasks=[0], process=self.process)
