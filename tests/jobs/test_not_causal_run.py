"""A router that reads ahead says so at the start and at the end, and cannot continue a text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.command import SMALL, run, run_folder, text_file


@pytest.mark.slow
def test_it_trains_and_evaluates_with_a_warning_and_does_not_generate(tmp_path: Path) -> None:
    text_file(tmp_path)
    result = run(tmp_path, *SMALL, "data.path=source.txt", "router=soft_moe", "economy=off", "router.slots=4")
    assert result.returncode == 0, result.stderr
    shown = " ".join(result.stdout.split())
    assert "soft_moe reads ahead: an upper bound, never ranked, cannot generate" in shown
    assert "reads ahead: these figures are an upper bound, never ranked" in shown
    folder = run_folder(tmp_path)
    assert "upper bound" in (folder / "summary.txt").read_text()
    refused = run(tmp_path, "job=generate", f"job.run={folder}")
    assert refused.returncode == 2
    assert "router.kind soft_moe" in refused.stderr + refused.stdout
