"""An arm that is out of time goes on after it, as often as it may."""

from __future__ import annotations

from tests.slurm.command import Launcher, restarts, row, run_folders, status, until


def test_a_time_out_requeues_until_the_arm_may_not_any_more(endless: Launcher) -> None:
    (job,) = endless.jobs().values()
    until(lambda: row(status(endless), "endless")[2] == "killed", pause=2.0)
    assert row(status(endless), "endless")[-1].startswith("preempted or out of time after 1 requeues")
    assert restarts(endless.cluster, job) == 1
    assert len({line for line in endless.log(job).splitlines() if "this job is timed-out" in line}) == 2
    folder = run_folders(endless.cwd)["endless"]
    assert "going on after step" in (folder / "train.log").read_text()
    assert any((folder / "checkpoints").iterdir())
