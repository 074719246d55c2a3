"""What the cluster does not have is refused in one line before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.command import Launcher


@pytest.mark.parametrize(
    ("setting", "said"),
    [("partition=gpu", "partition"), ("nodes=50", "node")],
)
def test_by_sbatch(cluster: Cluster, tmp_path: Path, setting: str, said: str) -> None:
    launcher = Launcher(cluster, tmp_path, "refused", {"whole": ["seed=1"]}, f"hydra.launcher.{setting}")
    assert launcher.end() == 2
    (line,) = launcher.printed().splitlines()
    assert line.startswith("hydra.launcher: sbatch refuses it: ")
    assert said in line.lower()
    assert not (tmp_path / "outputs").exists()
