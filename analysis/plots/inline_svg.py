"""A figure as SVG that becomes part of a page: its text is text, its ink is the page's, and it fills its column."""

from __future__ import annotations

import io
import re

import matplotlib
from matplotlib.figure import Figure

from analysis.plots.style import FAINT, INK

NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def inline_svg(figure: Figure, name: str) -> str:
    """The <svg> element; `name` keeps its ids apart from those of other figures, and the same figure the same."""
    for patch in (figure.patch, *(axis.patch for axis in figure.axes)):
        patch.set_visible(False)  # the page is the paper
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine("none")  # savefig would draw everything once more before it lays out
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata=NO_METADATA)
    text = file.getvalue()
    return _in_page(text[text.index("<svg") :])


def _in_page(svg: str) -> str:
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)  # matplotlib repeats every text there
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # figure_1, axes_1: the same in every figure
    svg = re.sub(r' id="image[^"]*"', "", svg)  # the same for the same pixels; nothing refers to it
    svg = re.sub(r'^<svg ([^>]*?)width="[^"]*"', r"<svg \1", svg, count=1)
    svg = re.sub(r'^<svg ([^>]*?)height="[^"]*"', r"<svg \1", svg, count=1)
    svg = re.sub(r"font: (?:(\w+) )?([\d.]+px) [^;\"]*", _font, svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = svg.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    return re.sub(r"\n\s*", "\n", svg).strip()


def _font(found: re.Match[str]) -> str:
    """Size and weight of the plot, family of the page."""
    weight = f"font-weight: {found[1]}; " if found[1] else ""
    return f"{weight}font-size: {found[2]}"
