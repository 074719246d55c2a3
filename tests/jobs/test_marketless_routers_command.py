"""A run by the command line with each router that needs no market, from the first line to the summary."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from camoe.config.router import STATIC
from tests.jobs.command import SMALL, records, run, run_folder

KINDS = (*STATIC, "learned_soft", "modulo_prior")
IN_EVERY_SUITE = ("dense",)
FEW = ["phase=flat", "phase.schedule.train.steps=3", "job.sample_tokens=2", "router.top_k=2", "economy=off"]


def _small() -> list[str]:
    return [override for override in SMALL if not override.startswith(("phase.", "job.sample"))]


@pytest.mark.parametrize(
    "router", [pytest.param(kind, marks=() if kind in IN_EVERY_SUITE else pytest.mark.slow) for kind in KINDS]
)
def test_a_run_comes_to_its_summary(router: str, text: Path, tmp_path: Path) -> None:
    result = run(tmp_path, *_small(), *FEW, f"router={router}", f"data.path={text}")
    assert result.returncode == 0, result.stderr
    final = records(run_folder(tmp_path))[-1]
    assert math.isfinite(final["final/bpb"])
    assert "mechanisms alive" in result.stdout
    assert f"router {router}" in result.stdout
    if router == "dense":
        assert "1 RWKV, " in result.stdout
        assert "hidden, top-1" in result.stdout
