"""One run of a sweep as a SLURM job, which can be requeued."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, replace

from submitit.helpers import DelayedSubmission

from camoe.sweeping.arm_task import ArmEnd, ArmTask
from camoe.sweeping.requeue import LeftToSlurm, TooManyRequeues, requeue_on_signals


@dataclass(frozen=True)
class SlurmTask:
    """Called by submitit in the job. `requeues` counts those that we asked for; SLURM's own are not limited."""

    arm: ArmTask
    max_requeues: int
    requeues: int = 0

    def __call__(self) -> ArmEnd:
        """To the arm's end, or to the point where SLURM will start the job again."""
        logging.getLogger("submitit").propagate = False  # it prints its lines itself
        try:
            requeue_on_signals()
            return self.arm()
        except LeftToSlurm as left:
            sys.exit(left.code)
        except TooManyRequeues as end:
            return ArmEnd("killed", str(end))

    def checkpoint(self) -> DelayedSubmission:
        """What the requeued job calls; asked by submitit's handler once the run is saved. Raises TooManyRequeues."""
        if self.requeues >= self.max_requeues:
            raise TooManyRequeues(
                f"preempted or out of time after {self.requeues} requeues, the most that hydra.launcher.max_requeues "
                "allows; the same command goes on with it"
            )
        return DelayedSubmission(replace(self, requeues=self.requeues + 1))
