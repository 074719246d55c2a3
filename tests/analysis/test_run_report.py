"""The page of a run: what is on it, for runs in every state, and that nothing in a file becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from analysis.__main__ import main
from analysis.run_history import RunHistory
from analysis.run_outline import read_outline
from analysis.run_pictures import market_pictures
from analysis.run_report import write_run_report
from camoe.tracking.run_folder import RunFolder
from tests.analysis.html_page import HtmlPage
from tests.analysis.market_folder import market_folder

SECTIONS = ("top", "run", "training", "routing", "market", "sample", "metrics", "provenance")
LARGEST = 3_000_000  # bytes


def page_of(folder: Path) -> HtmlPage:
    return HtmlPage(write_run_report(RunFolder.open(folder)).read_text(encoding="utf-8"))


def absences(page: HtmlPage) -> list[str]:
    return re.findall(r"^Not drawn: ([^(]*) \((.*)\)\.$", page.text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = market_folder(tmp_path_factory.mktemp("whole"))
    return write_run_report(RunFolder.open(folder)).read_text(encoding="utf-8")


def test_every_section_figure_and_definition_is_there(whole: str) -> None:
    page = HtmlPage(whole)
    assert [mark for mark in page.ids() if mark in SECTIONS] == list(SECTIONS)
    assert len(page.all("svg")) == 20
    assert not absences(page)
    for shown in ("1.9876", "2.5000", "4.5000", "845k", "1.1M", "python run.py economy=calibrated seed=1", "init 1"):
        assert shown in page.text
    assert "it was torn (2026-01-02 03:04:07)" in page.text
    links = {link["href"]: link["title"] for link in page.all("a") if "title" in link}
    assert "UTF-8 bytes" in links["#metric-final/bpb"]


def test_links_lead_somewhere_and_ids_are_unique(whole: str) -> None:
    page = HtmlPage(whole)
    ids = page.ids()
    assert len(ids) == len(set(ids))
    targets = {link["href"].removeprefix("#") for link in page.all("a")}
    assert targets <= set(ids)
    used = {use["xlink:href"].removeprefix("#") for use in page.all("use")}
    assert used <= set(ids)


def test_the_file_is_self_contained_and_small(whole: str) -> None:
    page = HtmlPage(whole)
    assert page.fetched() == []
    assert "url(http" not in whole
    assert "@import" not in whole
    assert len(whole.encode()) < LARGEST


def test_only_the_pages_own_script_may_run(whole: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", whole, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (meta["content"] for meta in HtmlPage(whole).all("meta") if "http-equiv" in meta)
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize(("residual", "said"), [(1e-5, True), (6e-8, False)])
def test_books_that_do_not_close_are_said_first(tmp_path: Path, residual: float, said: bool) -> None:
    folder = market_folder(tmp_path)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    records = [line | {"market/ledger_residual/worst": residual} for line in lines]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert ("the market's books do not close: a residual of 1.0e-05" in page_of(folder).text) == said


def test_nothing_that_a_file_says_becomes_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=http://x/y onerror=alert(2)>"
    folder = market_folder(
        tmp_path,
        config={"name": evil, "economy": {"kind": "calibrated"}, "job": {"prompt": evil}},
        provenance={"git_commit": evil, "git_branch": evil, "command": evil, "data": evil, "host": evil},
        sample=evil + "</pre></main>" + evil,
        overrides=(f"name={evil}", "x='\"><b>'"),
    )
    (folder / "train.log").write_text(f"2026-01-02 03:04:07 WARNING {evil}\n2026-01-02 03:04:05 INFO model: {evil}")
    page = page_of(folder)
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert page.fetched() == []
    assert page.text.count(evil) >= 6


def test_a_run_that_goes_on_shows_what_there_is(tmp_path: Path) -> None:
    page = page_of(market_folder(tmp_path, finished=False, windows=5))
    assert "this run is not finished, it is killed" in page.text
    assert "the final evaluation was not reached" in page.text
    assert "the last evaluation so far" in page.text
    assert not absences(page)
    assert len(page.all("svg")) == 20


def test_a_run_that_recorded_nothing_has_a_page(tmp_path: Path) -> None:
    page = page_of(market_folder(tmp_path, finished=False, windows=0, optional=False))
    assert page.all("svg") == []
    assert "metrics.jsonl holds no record of training" in page.text
    missing = dict(absences(page))
    assert missing["Loss"] == "loss/language_model was not recorded"
    assert missing["The ledger"].startswith("ledger.jsonl holds nothing")
    assert "None: samples/final.txt is written when a run finishes" in page.text


def test_a_failed_run_says_why_first(tmp_path: Path) -> None:
    folder = market_folder(tmp_path, finished=False, windows=0, optional=False)
    process = {"host": "elsewhere", "pid": 1, "started": 1.0}
    status = {"state": "failed", "reason": "ValueError: <b>no</b>", "process": process}
    (folder / "status.json").write_text(json.dumps(status))
    page = page_of(folder)
    assert "this run is not finished, it is failed: ValueError: <b>no</b>" in page.text


def test_a_run_without_a_market_has_no_market_figures(tmp_path: Path) -> None:
    page = page_of(market_folder(tmp_path, config={"economy": {"kind": "off"}}))
    assert "This run has none: economy=off" in page.text
    assert len(page.all("svg")) == 13


def test_an_economy_that_measures_nothing_says_so(tmp_path: Path) -> None:
    folder = market_folder(tmp_path, config={"economy": {"kind": "v21"}})
    kept = []
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        names = ("market/credit", "market/holdout")
        kept.append(json.dumps({k: v for k, v in json.loads(line).items() if not k.startswith(names)}))
    (folder / "metrics.jsonl").write_text("\n".join(kept) + "\n")
    run, history = read_outline(RunFolder.open(folder)), RunHistory.read(folder / "metrics.jsonl")
    pictures = market_pictures(run, history)
    assert sum(picture.svg is not None for picture in pictures) == 5
    assert {picture.title: picture.missing for picture in pictures if picture.svg is None} == {
        "What the market is worth": "economy v21 does not measure its own worth (calibrated does), or not yet",
        "Capital against credit": "economy v21 measures no credit (the calibrated one does)",
    }


def test_figures_that_are_not_finite_do_not_stop_the_page(tmp_path: Path) -> None:
    folder = market_folder(tmp_path)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        for name in row:
            if name.startswith(("loss/", "progress/grad", "market/", "valid/loss", "final/bpb", "final/maxvio")):
                row[name] = "NaN" if isinstance(row[name], (int, float)) else row[name]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(page_of(folder).all("svg")) >= 14


def test_the_command_makes_the_page_again_and_names_a_wrong_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = market_folder(tmp_path, finished=False, windows=0, optional=False)
    assert main(["report", str(folder)]) == 0
    assert (folder / "report.html").is_file()
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert "no such run folder" in capsys.readouterr().err
