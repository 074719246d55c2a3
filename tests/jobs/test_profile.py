"""job=profile on the real command line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.jobs.command import SMALL, run, run_folder, text_file


def test_a_profile_shows_size_memory_and_time_and_keeps_the_trace(tmp_path: Path) -> None:
    text = text_file(tmp_path)
    result = run(tmp_path, *SMALL, f"data.path={text}", "job=profile", "job.steps=1")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    folder = run_folder(tmp_path)
    report = (folder / "profile.txt").read_text()
    for expected in ("parameters", "FLOPs/token", "peak", "measured", "Largest buffers", "time mixing", "GFLOP/s"):
        assert expected in report
        assert expected in result.stdout
    for room in ("router", "critic", "RWKV experts", "bridge", "Transformer experts", "optimizer", "market", "data"):
        assert f"\n  {room} " in report[report.index("Step of phase normal") :]
    trace = json.loads(gzip.decompress((folder / "trace.json.gz").read_bytes()))
    assert any(event.get("name") == "room: transformer_prefix" for event in trace["traceEvents"])
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"


def test_no_steps_need_no_text_and_leave_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, "model=0.4b", "data=local", "data.path=none.txt", "job=profile", "job.steps=0")
    assert result.returncode == 0, result.stderr
    assert "Step of phase" not in result.stdout
    assert "1.14G" in result.stdout  # parameters
    assert "\n  devices         1      1\n" in "\n".join(map(str.rstrip, result.stdout.splitlines()))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_largest_preset_is_planned_without_being_built(tmp_path: Path) -> None:
    """Its weights alone are 2.5 TB."""
    result = run(tmp_path, "model=cdrmix_200b", "job=profile")
    assert result.returncode == 0, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert any(line.startswith("total 617G 200G ") for line in lines)
    assert "devices 256 128" in lines
    assert "expert ranks 8 8" in lines
    assert not list(tmp_path.iterdir())


def test_a_nominal_size_names_the_width_of_experts_that_gives_it(tmp_path: Path) -> None:
    result = run(tmp_path, "data=local", "data.path=none.txt", "job=profile", "job.steps=0", "job.nominal_params=4e6")
    assert result.returncode == 0, result.stderr
    lines = [line.split(maxsplit=1) for line in result.stdout.splitlines() if "experts.hidden=" in line]
    assert [name for name, *_ in lines] == ["stored", "active", "CDRmix's"]


@pytest.mark.slow
def test_a_nominal_size_without_experts_of_any_width_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path, "experts=0r4t", "job=profile", "job.steps=0", "job.nominal_params=4e6")
    assert result.returncode == 2
    assert result.stderr.startswith("job.nominal_params: no expert of this run has a hidden width")


def test_a_resumed_profile_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path, "job=profile", "resume=outputs/old")
    assert result.returncode == 2
    assert result.stderr == "resume: job profile begins with fresh weights; leave out resume\n"
