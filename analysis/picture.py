"""A plot as a page shows it, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from analysis.plots.inline_svg import inline_svg
from analysis.run_history import NotRecorded


@dataclass(frozen=True)
class Picture:
    """svg is None where nothing could be drawn; then `missing` says why. wide: fills the page, else half of it."""

    title: str
    how_to_read: str
    svg: Markup | None
    missing: str = ""
    wide: bool = False


def picture(title: str, how_to_read: str, draw: Callable[[], Figure], *, wide: bool = False) -> Picture:
    """Draws; NotRecorded becomes the reason. Titles name the ids of a page, so they differ within it."""
    with matplotlib.rc_context({"text.parse_math": False}):  # a dollar in the name of a run is a dollar
        try:
            return Picture(title, how_to_read, Markup(inline_svg(draw(), title)), wide=wide)
        except NotRecorded as reason:
            return Picture(title, how_to_read, None, str(reason), wide)
