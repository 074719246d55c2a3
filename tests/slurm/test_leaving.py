"""A launcher that is stopped leaves its jobs to SLURM; what becomes of them is seen later."""

from __future__ import annotations

import signal

from tests.slurm.command import Launcher, row, status


def test_ctrl_c_says_what_goes_on_and_leaves_it(endless: Launcher) -> None:
    jobs = endless.jobs()
    endless.process.send_signal(signal.SIGINT)
    assert endless.end() == 128 + signal.SIGINT
    assert f"SLURM goes on with job {jobs['endless']}" in endless.printed()
    assert f"scancel {jobs['endless']}" in endless.printed()
    assert jobs["endless"] in endless.cluster.run("squeue", "--noheader", "--format=%i")
    assert row(status(endless), "endless")[2].split()[0] in ("waiting", "starting", "running")
