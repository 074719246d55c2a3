"""One cluster for all tests here, which therefore run in one process, whatever pytest-xdist is told."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.jobs.command import text_file
from tests.slurm.cluster import Cluster, install, why_not
from tests.slurm.command import LONG, Launcher


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "slurm":
            item.add_marker(pytest.mark.slurm)
            item.add_marker(pytest.mark.xdist_group("slurm"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running cluster; skips where there is no SLURM and we may not install it."""
    reason = why_not()
    if reason and os.geteuid() == 0 and (os.environ.get("CI") == "true" or os.environ.get("CAMOE_INSTALL_SLURM")):
        install()
        reason = why_not()
    if reason:
        pytest.skip(f"no SLURM: {reason}")
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def endless(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Launcher:
    """An arm that no time limit is enough for. It may be requeued once; that takes SLURM two minutes to play out."""
    cwd = tmp_path_factory.mktemp("endless")
    limits = ["timeout_min=1", "signal_delay_s=10", "max_requeues=1"]
    own = [*(f"hydra.launcher.{limit}" for limit in limits), f"data.path={text_file(cwd)}"]
    settings = [*LONG, "phase.schedule.normal.steps=1000000"]
    return Launcher(cluster, cwd, "endless", {"endless": ["seed=1"]}, *settings, *own)
