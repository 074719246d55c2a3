"""A comparison inside of a Markdown page: tables that render, pictures that are there, prose that stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.table import Table

from analysis.__main__ import main
from analysis.comparison_markdown import markdown_table
from tests.analysis.made_runs import EXPERTS, LAYERS, made_run, made_sweep

MARKET = {
    "market/capital_share/by_expert": [[0.4, 0.3, 0.2, 0.1][:EXPERTS]] * LAYERS,
    "market/credit/by_expert": [[0.4, 0.3, 0.2, 0.1][:EXPERTS]] * LAYERS,
    "routing/load/by_expert": [[0.1, 0.2, 0.3, 0.4][:EXPERTS]] * LAYERS,
    "market/holdout_gain": 0.0125,
    "market/holdout_low": 0.01,
    "market/holdout_high": 0.015,
    "final/maxvio_global": 0.1,
}


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page with a block for the study beside it: two arms, five seeds."""
    for seed in (1, 2, 3, 4, 5):
        made_run(tmp_path, "base", seed, 1 + 0.01 * seed, final=MARKET)
        made_run(tmp_path, "other", seed, 1.1 + 0.0101 * seed, final={"final/maxvio_global": 0.2})
    made_sweep(tmp_path, "study", [(arm, seed) for arm in ("base", "other") for seed in (1, 2, 3, 4, 5)])
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("prose\n<!-- comparison study: begin -->\n<!-- comparison study: end -->\nmore prose\n")
    return page


def test_the_block_has_answer_tables_and_pictures(page: Path) -> None:
    assert main(["compare", "--sweep", "study", "--page", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("prose\n<!--")
    assert text.endswith("-->\nmore prose\n")
    assert "**On final/bpb, against base: other (+0.10" in text
    assert "| base | 5 | 1.0000 ± 0.0000 | -1.0000 ± 0.0000 | 0.0125 ± 0.0000 |" in text
    quality = [line for line in text.splitlines() if line.startswith(("| other | 5 | 1.1", "| arm | n | bits"))]
    assert [line.count("|") for line in quality] == [9, 9]
    pictures = sorted((page.parent / "page").iterdir())
    assert [path.name for path in pictures] == [
        f"study_{name}.svg" for name in ("credit", "forest", "frontier", "load")
    ]  # one record has no curve
    assert all(f"](page/{path.name})" in text for path in pictures)
    assert all("<svg" in path.read_text() for path in pictures)


def test_the_same_runs_give_the_same_page(page: Path) -> None:
    written = []
    for _ in range(2):
        main(["compare", "--sweep", "study", "--page", str(page), "--no-log"])
        written.append([page.read_bytes(), *(path.read_bytes() for path in sorted((page.parent / "page").iterdir()))])
    assert written[0] == written[1]


def test_a_page_without_a_block_is_refused_before_anything_is_written(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page.write_text("prose")
    assert main(["compare", "--sweep", "study", "--page", str(page)]) == 2
    assert "has no <!-- comparison study: begin -->" in capsys.readouterr().err
    assert not (page.parent / "page").exists()
    assert not (page.parent / "outputs/sweeps/study/comparison").exists()


def test_cells_cannot_break_a_table() -> None:
    table = Table("left", "right")
    table.columns[1].justify = "right"
    table.add_row("a|b", "1")
    assert markdown_table(table) == ["| left | right |", "| --- | ---: |", "| a\\|b | 1 |"]
