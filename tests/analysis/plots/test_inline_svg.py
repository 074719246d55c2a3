"""SVG inside a page: text stays text, colours are the page's, ids do not meet."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from analysis.picture import picture
from analysis.plots.inline_svg import inline_svg
from analysis.plots.style import FAINT, INK, name_axes, panel
from analysis.run_history import NotRecorded


def drawn() -> Figure:
    figure, axis = panel()
    axis.plot([0, 1], [0, 1], "o-", label="a <b> & c")
    axis.legend()
    name_axes(axis, "x $a$ axis", "y")
    return figure


def test_text_is_text_in_the_pages_type_and_ink() -> None:
    svg = inline_svg(drawn(), "a")
    root = ElementTree.fromstring(svg)
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "a <b> & c" in texts
    assert INK not in svg
    assert FAINT not in svg
    assert "var(--ink)" in svg
    assert "DejaVu" not in svg
    assert root.get("width") is None
    assert root.get("viewBox")


def test_the_same_figure_gives_the_same_text_and_other_names_other_ids() -> None:
    assert inline_svg(drawn(), "a") == inline_svg(drawn(), "a")
    ids = [set(re.findall(r'id="([^"]+)"', inline_svg(drawn(), name))) for name in ("a", "b")]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_dollars_in_names_are_dollars() -> None:
    svg = picture("t", "how", drawn).svg
    assert svg is not None
    assert "x $a$ axis" in svg


def test_what_was_not_recorded_is_a_reason() -> None:
    def nothing() -> Figure:
        raise NotRecorded("no such thing")

    found = picture("t", "how", nothing)
    assert (found.svg, found.missing) == (None, "no such thing")
