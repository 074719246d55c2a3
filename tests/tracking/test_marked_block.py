"""A page keeps its prose when its tables are written anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from camoe.config import ConfigError
from camoe.tracking.marked_block import write_marked_block

PAGE = """before
<!-- one: begin -->
old
<!-- one: end -->
between
<!-- two: begin -->
<!-- two: end -->
after
"""


def test_only_what_stands_between_the_markers_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    for content in ("first", "new\n"):
        write_marked_block(page, "one", content)
    assert page.read_text() == PAGE.replace("old\n", "\nnew\n\n")


@pytest.mark.parametrize("text", ["no markers", "<!-- one: begin -->", "<!-- one: end --> <!-- one: begin -->"])
def test_a_page_without_the_markers_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ConfigError, match="has no <!-- one: begin -->"):
        write_marked_block(page, "one", "content")
    assert page.read_text() == text
