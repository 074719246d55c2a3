"""What is queued runs as it was queued, whatever becomes of the checkout; a signal while it starts is no harm."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from camoe.sweeping.code_snapshot import files_of
from tests.git import git
from tests.jobs.command import ROOT, SMALL, text_file
from tests.slurm.cluster import Cluster
from tests.slurm.command import Launcher, provenance, restarts, row, run_folders, state, status, until

EDITED = "raise SystemError('edited after it was queued')\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this one, with something uncommitted in it."""
    root = tmp_path / "checkout"
    for name in files_of(ROOT):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name, follow_symlinks=False)
    git(root, "init", "-q")
    git(root, "add", "--all")
    git(root, "commit", "-qm", "as it is")
    with (root / "camoe" / "__init__.py").open("a") as file:
        file.write("# uncommitted\n")
    return root


def test_a_queued_arm_runs_the_code_of_its_submission(cluster: Cluster, checkout: Path, tmp_path: Path) -> None:
    cwd = tmp_path / "elsewhere"
    cwd.mkdir()
    text_file(cwd)
    own = ["data.path=source.txt", "hydra.launcher.wait=false", "+hydra.launcher.sbatch.hold=true"]
    launcher = Launcher(cluster, cwd, "queued", {"whole": ["seed=1"]}, *SMALL, *own, root=checkout)
    assert launcher.end() == 0, launcher.printed()
    assert "job=status sweep=queued" in launcher.printed()
    assert row(status(launcher), "whole")[2] == "waiting"
    (job,) = launcher.jobs().values()
    again = Launcher(cluster, cwd, "queued", {"whole": ["seed=1"]}, *SMALL, *own, root=checkout)
    assert again.end() == 0
    assert f"whole, seed 1: queued already, job {job}" in again.printed()
    commit = subprocess.check_output(["git", "-C", str(checkout), "rev-parse", "HEAD"], text=True).strip()
    for edited in [*checkout.glob("camoe/jobs/*.py"), checkout / "run.py", checkout / "conf" / "config.yaml"]:
        edited.write_text(EDITED)
    cluster.run("scontrol", "release", job)
    until(lambda: "Starting with" in launcher.log(job))  # submitit's word before it imports anything of ours
    cluster.run("scancel", "--signal=USR2", job)
    until(lambda: row(status(launcher), "whole")[2] == "finished", pause=1.0)

    assert restarts(cluster, job) == 1
    folder = run_folders(cwd)["whole"]
    assert state(folder) == "finished"
    assert (provenance(folder)["checkout"], provenance(folder)["git_commit"]) == (str(checkout), commit)
    assert "+# uncommitted" in (folder / "uncommitted.diff").read_text()
