"""The page of a comparison: the answer first, then what it rests on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from analysis.arm_histories import ArmHistories
from analysis.comparison import DIVERGED, EQUIVALENT, UNDECIDED, Comparison
from analysis.comparison_answer import answer, what_is_open
from analysis.comparison_pictures import arm_pictures, curve_pictures, difference_pictures, frontier_pictures
from analysis.comparison_tables import arm_rows, difference_in_words, margin_in_words
from analysis.page import write_page
from analysis.run_report import FILE
from analysis.verdict import what_it_takes


def write_comparison_report(found: Comparison) -> Path:
    """report.html in the comparison's folder."""
    histories, margin = ArmHistories.read(found), margin_in_words(found)
    rows = [{**arm, "detail": _detail(arm), "shown_difference": difference_in_words(arm)} for arm in arm_rows(found)]
    return write_page(
        found.folder / FILE,
        "comparison_report.html",
        linked=False,
        found=found,
        answer=answer(found),
        open=what_is_open(found),
        margin=margin,
        arms=rows,
        plan=found.plan_followed.to_dict("records"),
        differences=difference_pictures(found),
        frontier=frontier_pictures(found),
        curves=curve_pictures(found, histories),
        by_arm=arm_pictures(found, histories),
        runs=[_run(run, found.folder) for run in found.runs.to_dict("records")],
        primary_is_bpb=found.metric == "final/bpb",
        intervals=sorted(set(found.arms["interval"].dropna()) - {""}),
    )


def _detail(arm: Mapping[str, Any]) -> str:
    """What stands below a verdict."""
    if arm["verdict"] == UNDECIDED:
        return what_it_takes(arm)
    if arm["verdict"] == DIVERGED:
        return f"{arm['diverged']:.0f} of {arm['planned']:.0f} runs"
    return "within the margin" if arm["verdict"] == EQUIVALENT else ""


def _run(run: Mapping[Any, Any], here: Path) -> dict[str, Any]:
    """One row of the appendix; `link` leads to the run's own page, or nowhere."""
    reason = str(run["reason"] or "").strip().splitlines()
    folder = run["folder"]
    page = None if folder is None else Path(folder) / FILE
    return {
        **{name: run.get(name) for name in ("arm", "status", "value", "counted", "diverged", "tokens", "tokens_per_s")},
        "seed": _seed(run),
        "error": reason[0] if reason and run["status"] != "finished" else "",
        "name": "" if folder is None else Path(folder).name,
        "link": quote(os.path.relpath(page, here)) if page is not None and page.is_file() else "",
    }


def _seed(run: Mapping[Any, Any]) -> str:
    """init, and the others where they differ from it."""
    seeds = [run.get(f"seed_{name}") for name in ("init", "data", "router_noise")]
    known = ["?" if seed is None or seed != seed else f"{seed:.0f}" for seed in seeds]
    return known[0] if len(set(known)) == 1 else "/".join(known)
