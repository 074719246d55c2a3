"""job=plan on the real command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from camoe.profiling.device_kinds import ROW
from tests.jobs.command import ROOT, run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("block", range(3))
def test_the_page_shows_what_the_command_prints(block: int, tmp_path: Path) -> None:
    """A block of docs/scaling.md: the command after a prompt, then its output, numbers to a tenth.

    A kernel may come to save an operation without the page being written anew. Two of them plan for weights of 2.5 TB.
    """
    shown = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8").split("```\n$ python run.py ")[1:]
    assert len(shown) == 3
    asked, _, expected = shown[block].partition("\n```")[0].partition("\n")
    result = run(tmp_path, *asked.split(), "job.output=plan.json", timeout=600)
    assert result.returncode == 0, result.stderr
    printed, expected_words = result.stdout.split(), expected.split()
    assert len(printed) == len(expected_words)
    assert [pair for pair in zip(printed, expected_words, strict=True) if not _near(*pair)] == []
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert f"{plan['chosen']}*" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def _near(printed: str, on_page: str) -> bool:
    """Numbers to a tenth, with equal units; other words exactly."""
    (one, unit), (other, other_unit) = _parts(printed), _parts(on_page)
    if one is None or other is None:
        return printed == on_page
    return unit == other_unit and one == pytest.approx(other, rel=0.1, abs=0.02)


def _parts(word: str) -> tuple[float | None, str]:
    """A number, without commas, and its unit; None for a word that is none."""
    number = re.fullmatch(r"([\d,]+\.?\d*)([GTMk%]?)", word)
    return (float(number[1].replace(",", "")), number[2]) if number else (None, word)


def test_what_does_not_fit_is_an_answer(tmp_path: Path) -> None:
    """Eight sequences a step."""
    result = run(tmp_path, "job=plan", "job.plan.devices=7", timeout=600)
    assert result.returncode == 0, result.stderr
    assert "infeasible on 7 x h200" in result.stdout
    assert "cannot be shared equally by 7 processes" in " ".join(result.stdout.split())


def test_this_machine_must_have_been_measured(tmp_path: Path) -> None:
    asked = ("job=plan", "job.plan.device=cpu")
    missing = run(tmp_path, *asked)
    assert missing.returncode == 2
    assert missing.stderr.startswith("job.plan.measured: outputs/benchmarks/performance.json does not hold")
    assert missing.stderr.count("\n") == 1
    names = ("fp32", "fp32_highest", "bf16", "passes", "recurrence", "operation", "memory")
    figures = {name: {"values": [1e9, 3e9, 2e9]} for name in names}
    machine = {"GPU": "none", "date": "today", "threads": "1", "CPU": "one"}
    (tmp_path / "rates.json").write_text(json.dumps({"machine": machine, "rows": [{"row": ROW, "figures": figures}]}))
    result = run(tmp_path, *asked, "job.plan.measured=rates.json", "job.output=plan.json", timeout=600)
    assert result.returncode == 0, result.stderr
    device = json.loads((tmp_path / "plan.json").read_text())["device"]
    assert (device["memory"], device["fp32"]["achieved"]) == (2e9, 2e9)
    several = run(tmp_path, *asked, "job.plan.measured=rates.json", "job.plan.devices=2")
    assert several.returncode == 2
    assert several.stderr.startswith("job.plan.devices: 2, but links of device cpu were never measured")
