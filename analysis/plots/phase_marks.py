"""Where training phases begin."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from analysis.plots.style import FAINT, INK


def mark_phases(axis: Axes, phases: Sequence[tuple[str, float]], *, named: bool = False) -> None:
    """A dotted line at the beginning of each phase but the first; `named` writes their names upward from below."""
    for number, (name, start) in enumerate(phases):
        if number:
            axis.axvline(start, color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0.5)
        if named:
            axis.annotate(
                name,
                (start, 0),
                (3, 4),
                xycoords=axis.get_xaxis_transform(),
                textcoords="offset points",
                rotation=90,
                fontsize=6.5,
                color=INK,
                alpha=0.75,
            )
