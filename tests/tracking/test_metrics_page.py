"""The documentation of the metrics is the table in the code."""

from pathlib import Path

from camoe.tracking.metric_definitions import markdown_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def test_the_page_holds_the_table_as_it_is() -> None:
    assert markdown_table() in PAGE.read_text(encoding="utf-8")
