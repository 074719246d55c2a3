"""A run ends with its page; what goes wrong with the page costs the page only."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from camoe.config.tracking import TrackingConfig
from camoe.jobs.run_page import write_report
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.tracker import Tracker
from tests.analysis.html_page import HtmlPage
from tests.jobs.command import SMALL, run, run_folder, text_file


def test_a_training_run_leaves_its_page(tmp_path: Path) -> None:
    text = text_file(tmp_path)
    result = run(tmp_path, *SMALL, f"data.path={text}", "economy=calibrated", "tracking.report=true", "model.n_layer=1")
    assert result.returncode == 0, result.stderr
    assert "no report.html" not in result.stdout + result.stderr
    page = HtmlPage((run_folder(tmp_path) / "report.html").read_text(encoding="utf-8"))
    assert "finished" in page.text
    assert len(page.all("svg")) >= 16


def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "x", "0", config={"name": "x"})


@pytest.mark.parametrize(("state", "calls"), [("finished", 1), ("failed", 1), ("killed", 0)])
def test_the_page_is_made_once_when_the_run_is_over(tmp_path: Path, state: str, calls: int) -> None:
    seen = []
    tracker = Tracker.open(
        folder(tmp_path), TrackingConfig(mlflow=False), at_end=lambda run: seen.append(run.status().state)
    )
    tracker.finish(state)  # type: ignore[arg-type]
    tracker.finish("failed")
    assert seen == [state] * calls


def test_a_page_that_cannot_be_made_is_told_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("analysis.run_report.write_page", broken)
    with caplog.at_level(logging.WARNING):
        write_report(folder(tmp_path))
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "no report.html (OSError: disk full); once that is mended: python -m analysis"
    )
