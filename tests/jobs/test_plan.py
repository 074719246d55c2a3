"""job=plan on the real command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from camoe.profiling.device_kinds import ROW
from tests.jobs.command import ROOT, run

pytestmark = pytest.mark.slow


def test_the_largest_preset_is_planned_without_being_built(tmp_path: Path) -> None:
    """Its weights alone are 2.5 TB."""
    result = run(tmp_path, "model=cdrmix_200b", "job=plan", "job.output=plan.json")
    assert result.returncode == 0, result.stderr
    assert "617G parameters" in result.stdout
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["devices"] == 128
    refused = {layout["name"]: layout["refusal"] for layout in plan["layouts"] if "refusal" in layout}
    assert "optimiser" in refused["replicate"]
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize("block", range(3))
def test_the_page_shows_what_the_command_prints(block: int, tmp_path: Path) -> None:
    """A block of docs/scaling.md: the command after a prompt, then its output, numbers to a tenth.

    A kernel may come to save an operation without the page being written anew.
    """
    shown = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8").split("```\n$ python run.py ")[1:]
    assert len(shown) == 3
    asked, _, expected = shown[block].partition("\n```")[0].partition("\n")
    result = run(tmp_path, *asked.split())
    assert result.returncode == 0, result.stderr
    printed, expected_words = result.stdout.split(), expected.split()
    assert len(printed) == len(expected_words)
    for word, on_page in zip(printed, expected_words, strict=True):
        assert _value(word) == pytest.approx(_value(on_page), rel=0.1, abs=0.02), (word, on_page)


def _value(word: str) -> float | str:
    """A number without commas and unit, or the word itself."""
    number = re.fullmatch(r"([\d,]+\.?\d*)([GTMk%]?)", word)
    return float(number[1].replace(",", "")) if number else word


def test_what_no_number_of_devices_holds_is_said(tmp_path: Path) -> None:
    result = run(tmp_path, "model=cdrmix_200b", "job=plan", "job.plan.devices=8")
    assert result.returncode == 0, result.stderr
    assert "infeasible on 8 x h200" in result.stdout


def test_this_machine_must_have_been_measured(tmp_path: Path) -> None:
    asked = ("job=plan", "job.plan.device=cpu")
    missing = run(tmp_path, *asked)
    assert missing.returncode == 2
    assert missing.stderr.startswith("job.plan.measured: outputs/benchmarks/performance.json does not hold")
    assert missing.stderr.count("\n") == 1
    names = ("fp32", "bf16", "passes", "recurrence", "operation", "memory")
    figures = {name: {"values": [1e9, 3e9, 2e9]} for name in names}
    machine = {"GPU": "none", "date": "today", "threads": "1", "CPU": "one"}
    (tmp_path / "rates.json").write_text(json.dumps({"machine": machine, "rows": [{"row": ROW, "figures": figures}]}))
    result = run(tmp_path, *asked, "job.plan.measured=rates.json", "job.output=plan.json")
    assert result.returncode == 0, result.stderr
    device = json.loads((tmp_path / "plan.json").read_text())["device"]
    assert (device["memory"], device["fp32"]["achieved"]) == (2e9, 2e9)
    several = run(tmp_path, *asked, "job.plan.measured=rates.json", "job.plan.devices=2")
    assert several.returncode == 2
    assert several.stderr.startswith("job.plan.devices: 2, but links of device cpu were never measured")
