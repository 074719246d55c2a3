"""A comparison as part of a Markdown page: its answer, its tables, and pictures in a folder beside the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from rich.table import Table

from analysis.arm_histories import ArmHistories
from analysis.comparison import Comparison
from analysis.comparison_answer import answer, what_is_open
from analysis.comparison_pictures import forest_figure, frontier_figure, gain_figure, rank_figure
from analysis.comparison_tables import comparison_tables, rule_of_judgement
from analysis.run_history import NotRecorded
from camoe.tracking.marked_block import write_marked_block

PICTURES = {
    "forest": "Paired differences from the reference; the margin is shaded.",
    "frontier": "Loss against balance; a dot is a run, a ring an arm's mean.",
    "credit": "Rank correlation of capital with audited credit, a dot a run.",
    "load": "Rank correlation of capital with load, a dot a run.",
    "gain": "What the market has been worth so far, on sequences held out of it; mean of seeds, band: least to most.",
}


def write_into_page(found: Comparison, page: Path) -> list[Path]:
    """Fills the block `comparison NAME` of the page, and writes PAGE's pictures; all files written, the page first."""
    folder = page.with_suffix("")
    drawn = dict(_figures(found))
    files = {name: folder / f"{found.name}_{name}.svg" for name in drawn}
    lines = [f"**{answer(found)}** {' '.join(what_is_open(found))}", "", f"{rule_of_judgement(found)}.", ""]
    lines += [f"- {note}" for note in found.notes]
    for name, remark, table in comparison_tables(found):
        lines += ["", f"**{name}**" + (f": {remark}" if remark else ""), "", *markdown_table(table)]
    for name, file in files.items():
        lines += ["", f"![{PICTURES[name]}]({folder.name}/{file.name})", "", f"*{PICTURES[name]}*"]
    write_marked_block(page, f"comparison {found.name}", "\n".join(lines))
    folder.mkdir(exist_ok=True)
    for name, figure in drawn.items():
        _save(figure, files[name])
    return [page, *files.values()]


def markdown_table(table: Table) -> list[str]:
    """A table of text cells as lines of Markdown."""
    columns = [[str(cell).replace("|", "\\|") for cell in column.cells] for column in table.columns]
    marks = ["---:" if column.justify == "right" else "---" for column in table.columns]
    rows = [[str(column.header) for column in table.columns], marks, *map(list, zip(*columns, strict=True))]
    return [f"| {' | '.join(row)} |" for row in rows]


def _figures(found: Comparison) -> Iterator[tuple[str, Figure]]:
    histories = ArmHistories.read(found)
    drawings: dict[str, Callable[[], Figure]] = {
        "forest": lambda: forest_figure(found),
        "frontier": lambda: frontier_figure(found),
        "credit": lambda: rank_figure(found, "credit"),
        "load": lambda: rank_figure(found, "load"),
        "gain": lambda: gain_figure(found, histories),
    }
    if found.arms["n"].max() < 2:  # one seed says nothing of differences; a coefficient has its curve
        drawings = {"frontier": drawings["frontier"]}
    for name, draw in drawings.items():
        try:
            yield name, draw()
        except NotRecorded:  # no arm has a market: the tables say so
            continue


def _save(figure: Figure, file: Path) -> None:
    """On white, for a page whose colours nobody knows; the same figure gives the same bytes."""
    with matplotlib.rc_context({"svg.hashsalt": file.name, "text.parse_math": False}):
        figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None})
