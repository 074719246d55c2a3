"""Do the rich deserve it? Capital of every expert against its load, or against its credit."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.plots.style import INK, SMALL, Array, name_axes, panel

LOAD = "load, share of the layer's assignments"
CREDIT = "credit, nats saved per token served"
AGAINST_LOAD = (
    "Each point is an expert of one layer at the end of the run: on a rising line the popular are rich, which alone "
    "does not make them right."
)
AGAINST_CREDIT = (
    "Each point is an expert of one layer with the 95 % interval of its credit: on a rising line capital pays for "
    "being useful."
)
Z95 = 1.96


def capital_against(
    other: Array, capital: Array, label: str, kinds: Sequence[str], colours: dict[str, str], error: Array | None = None
) -> Figure:
    """other, capital [L,E]; kinds [E] with a colour each; `error` [L,E] is the standard error of `other`."""
    figure, axis = panel()
    for expert, kind in enumerate(kinds):
        x, y, colour = other[:, expert], capital[:, expert], colours[kind]
        if error is not None:
            axis.errorbar(x, y, xerr=Z95 * error[:, expert], fmt="none", ecolor=colour, alpha=0.35, linewidth=0.9)
        axis.plot(x, y, "o", color=colour, markersize=4.5, alpha=0.85, markeredgewidth=0)
    axis.axhline(1 / capital.shape[1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axis.axvline(0 if error is not None else 1 / capital.shape[1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colours[kind], label=kind) for kind in dict.fromkeys(kinds)
    ]
    axis.legend(handles=handles, fontsize=SMALL, frameon=False, labelcolor=INK, loc="best", handletextpad=0.2)
    name_axes(axis, label, "capital share")
    return figure
